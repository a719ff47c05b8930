// better-sse: a channel, as its guide shows.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { createChannel, createSession } from 'better-sse'
import { serving, subject } from './sse.ts'

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
