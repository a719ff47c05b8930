// The client library's own request().
import { connect } from '@nats-io/transport-node'
import { loadOf } from './load.ts'
import { request } from './payload.ts'

export { serve } from './rpc-raw.ts'

export async function call(url: string) {
  const nats = await connect({ servers: url })
  return loadOf(async () => (await nats.request('raw.echo', JSON.stringify(request), { timeout: 5_000 })).json())
}
