// Core events as users write them.
import { z } from 'zod'
import { connect } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client } from '../../src/service/index.ts'
import { counted, publishing } from './events.ts'
import { request } from './payload.ts'

const Payload = z.object({
  id: z.number(),
  name: z.string(),
  flags: z.array(z.boolean()),
  at: z.number(),
  n: z.number(),
})
const bench = contract('bench', { version: '1.0.0', events: { ticked: { payload: Payload } } })

export async function subscribe(url: string) {
  const bus = await connect({ servers: url })
  const counter = await counted(bus.nats)
  // the bound is the benchmark's own: more than a round publishes ahead of its confirmation
  const events = client(bus, bench).ticked.subscribe({ maxPending: 1_000_000 })
  void (async () => {
    for await (const event of events) counter.add((event.payload as { n: number }).n)
  })()
}

export async function publish(url: string) {
  const bus = await connect({ servers: url })
  const { ticked } = client(bus, bench)
  return publishing(bus.nats, () => ticked.publish(request))
}
