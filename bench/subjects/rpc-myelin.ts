// Typed calls as users write them: zod on the server, replies checked, deadline on.
import { z } from 'zod'
import { connect } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client, serve as serveUnit, service } from '../../src/service/index.ts'
import { loadOf } from './load.ts'
import { request } from './payload.ts'

const Payload = z.object({
  id: z.number(),
  name: z.string(),
  flags: z.array(z.boolean()),
  at: z.number(),
  n: z.number(),
})
const echo = contract('echo', { version: '1.0.0', endpoints: { echo: { in: Payload, out: Payload } } })

export async function serve(url: string) {
  await serveUnit(await connect({ servers: url }), service(echo, { echo: (input) => input }))
}

export async function call(url: string) {
  const api = client(await connect({ servers: url }), echo)
  return loadOf(() => api.echo(request))
}
