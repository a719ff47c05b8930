// As events-raw, with headers of the size that CloudEvents and the caller's identity need: the same bytes on the wire.
import { headers } from '@nats-io/nats-core'
import { connect } from '@nats-io/transport-node'
import { publishing } from './events.ts'
import { request } from './payload.ts'

export { subscribe } from './events-raw.ts'

export async function publish(url: string) {
  const nats = await connect({ servers: url })
  let ahead = 0
  return publishing(nats, () => {
    const lines = headers()
    lines.set('ce-specversion', '1.0')
    lines.set('ce-type', 'bench.ticked')
    lines.set('ce-source', '/bench')
    lines.set('content-type', 'application/json')
    lines.set('ce-id', `id-${ahead}-0123456789`)
    lines.set('ce-time', '2026-01-01T00:00:00.000Z')
    nats.publish('bench.raw', Buffer.from(JSON.stringify(request)), { headers: lines })
    ahead += 1
    return ahead % 4_096 === 0 ? nats.flush() : undefined
  })
}
