// A command that cannot do its work says why and ends; what answered is named for what it is.
import { createServer as createHttp } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { afterAll, expect, it } from 'vitest'
import { commandLine } from './support/cli.ts'
import { withNats } from './support/nats.ts'

const { start } = commandLine(withNats())
const servers: Server[] = []
const sockets: Socket[] = []
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

const listening = (server: Server) =>
  new Promise<number>((resolve) => {
    servers.push(server)
    server.on('connection', (socket) => sockets.push(socket))
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
  })

it.each([
  ['says nothing', () => createServer(() => undefined), /SERVER_UNREACHABLE|NOT_A_NATS_SERVER/],
  ['speaks HTTP', () => createHttp((_request, response) => response.end('hello')), /NOT_A_NATS_SERVER/],
  [
    'greets in another way',
    () => createServer((socket) => socket.write('220 mail.example.com ESMTP\r\n')),
    /NOT_A_NATS_SERVER/,
  ],
] as const)(
  'a command on a server that %s fails within the connection’s time and ends at once',
  async (_, make, code) => {
    const port = await listening(make() as Server)
    const began = performance.now()
    const { code: exit, err } = await start(['ls'], { NATS_URL: `nats://127.0.0.1:${port}` }).ended
    expect(exit).toBe(1)
    expect(err).toMatch(code)
    expect(performance.now() - began).toBeLessThan(20_000)
  },
  60_000,
)
