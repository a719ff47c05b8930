// better-sse: a channel, as its guide shows.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { serving, subject } from './sse.ts'

// installed on first use, so that there are no types here
const { createChannel, createSession } = createRequire(import.meta.url)('better-sse') as {
  createChannel(): { register(session: unknown): unknown; broadcast(data: unknown, event: string): unknown }
  createSession(request: IncomingMessage, response: ServerResponse): Promise<unknown>
}

export async function serve(url: string) {
  const nats = await connect({ servers: url })
  const channel = createChannel()
  const server = createServer(async (request, response) => {
    channel.register(await createSession(request, response))
  })
  nats.subscribe(subject, { callback: (_error, message) => void channel.broadcast(message.json(), 'tick') })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return serving((server.address() as AddressInfo).port)
}
