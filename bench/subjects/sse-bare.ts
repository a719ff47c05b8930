// The least there is: one encoding per event and `res.write` to everybody. And sockets alone, for their own memory.
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { serving, subject } from './sse.ts'

export async function serve(url: string) {
  const nats = await connect({ servers: url })
  const clients = new Set<ServerResponse>()
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    response.write('retry: 1000\n\n')
    clients.add(response)
    response.on('close', () => clients.delete(response))
  })
  nats.subscribe(subject, {
    callback: (_error, message) => {
      const frame = Buffer.from(`event: tick\ndata: ${message.string()}\n\n`)
      for (const client of clients) client.write(frame)
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return serving((server.address() as AddressInfo).port)
}

export async function sockets() {
  const held = new Set<unknown>()
  const server = createSocketServer((socket) => {
    held.add(socket)
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    socket.on('error', () => held.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return serving((server.address() as AddressInfo).port)
}
