// Connections that were opened and have asked for nothing yet. Each holds a place as a client does, so that somebody who
// opens thousands of them and sends half a request does not get more than others; the server's time limits end them.
import type { IncomingMessage, Server } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'

export interface Pending {
  readonly count: number
  /** Those of one address. */
  of(address: string): number
}

/** Watches a server's connections until their first complete request head. */
export function watchPending(server: Server): Pending {
  const waiting = new Map<string, string>()
  const keyOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>) =>
    `${remoteAddress} ${remotePort}`
  server.on('connection', (socket: Socket) => {
    const key = keyOf(socket)
    waiting.set(key, socket.remoteAddress ?? '')
    socket.once('close', () => waiting.delete(key))
  })
  server.prependListener('request', (request: IncomingMessage | Http2ServerRequest) => {
    waiting.delete(keyOf(request.socket as Socket))
  })
  return {
    get count() {
      return waiting.size
    },
    of: (address) => {
      let count = 0
      for (const one of waiting.values()) if (one === address) count += 1
      return count
    },
  }
}
