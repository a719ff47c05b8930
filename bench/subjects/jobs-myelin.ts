// A job queue as users write it.
import { z } from 'zod'
import { connect } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client, serve, service } from '../../src/service/index.ts'
import { request } from './payload.ts'

const Payload = z.object({
  id: z.number(),
  name: z.string(),
  flags: z.array(z.boolean()),
  at: z.number(),
  n: z.number(),
})
const bench = contract('bench', { version: '1.0.0', jobs: { work: { payload: Payload, concurrency: 64 } } })

export async function work(url: string) {
  const bus = await connect({ servers: url })
  const { work } = client(bus, bench)
  return async ({ jobs }: { jobs: number }) => {
    let started = performance.now()
    for (let i = 0; i < jobs; i += 512) {
      await Promise.all(Array.from({ length: Math.min(512, jobs - i) }, () => work.enqueue(request)))
    }
    const enqueued = (jobs * 1_000) / (performance.now() - started)
    let done = 0
    const finished = Promise.withResolvers<void>()
    started = performance.now()
    const running = await serve(
      bus,
      service(bench, {
        work: () => {
          done += 1
          if (done === jobs) finished.resolve()
        },
      }),
    )
    await finished.promise
    const consumed = (jobs * 1_000) / (performance.now() - started)
    await running.drain()
    return { enqueued, consumed }
  }
}
