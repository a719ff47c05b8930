// What a try at a connection leaves behind: the client library forgets the socket of a server that took it and then said
// nothing, and the socket keeps the process alive until the other side closes it.
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

const dialling = new AsyncLocalStorage<Socket[]>()
const opened = 'net.client.socket'

/** Dials, and closes every socket that was opened for it and is not in use: all of them when it fails. */
export async function dial<Connection>(connect: () => Promise<Connection>): Promise<Connection> {
  const sockets: Socket[] = []
  const note = (message: unknown) => {
    if (dialling.getStore() === sockets) sockets.push((message as { socket: Socket }).socket)
  }
  subscribe(opened, note)
  let inUse: Socket | undefined
  try {
    const connection = await dialling.run(sockets, connect)
    inUse = sockets.at(-1) // one server is tried after the other
    return connection
  } finally {
    unsubscribe(opened, note)
    for (const socket of sockets) if (socket !== inUse) socket.destroy()
  }
}
