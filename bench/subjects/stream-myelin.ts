// The hourly delays as a processor over the flights, and a million keys.
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { flights } from '../../examples/airline/contracts/flights.ts'
import { flightsFile } from '../../examples/airline/units/data.ts'
import feedUnit from '../../examples/airline/units/flights-feed.ts'
import { connect, persist } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client, ensureContractStreams } from '../../src/service/index.ts'
import { count, event, mean, processor, quantile, share, sum, tumbling, view } from '../../src/stream/index.ts'
import { serve } from '../../src/unit/index.ts'

/** Puts all flights of the year into their stream. */
export async function feed(url: string) {
  const bus = await connect({ servers: url })
  return async () => {
    const unit = await serve(bus, feedUnit, { config: { file: flightsFile, speed: 'max' } })
    await unit.done
    const { position } = unit.stats!()
    await unit.drain()
    return position! + 1 // and the message that ends them
  }
}

export async function hourly(url: string) {
  const bus = await connect({ servers: url })
  let runs = 0
  return async ({ checkpointMs }: { checkpointMs: number }) => {
    runs += 1
    const name = `hourly-${process.pid}-${runs}`
    const program = processor(
      name,
      { from: event(flights, 'departed'), to: view(name, { key: 'origin' }), checkpointMs },
      (departed) =>
        departed
          .time((flight) => flight.date, { outOfOrder: '10m' })
          .keyBy((flight) => flight.origin)
          .window(tumbling('1h'), { lateness: '1h', as: 'hour' })
          .aggregate({
            flights: count(),
            mean: mean((flight) => flight.delay),
            p50: quantile(0.5, (flight) => flight.delay),
            p95: quantile(0.95, (flight) => flight.delay),
            late: share((flight) => flight.delay > 15),
          }),
    )
    const began = performance.now()
    const unit = await serve(bus, program)
    await unit.done
    const ms = performance.now() - began
    const rows = unit.stats!().out
    await unit.drain()
    return { ms, rows }
  }
}

const visits = contract('visits', {
  version: '1.0.0',
  events: { seen: { payload: z.object({ id: z.string(), at: z.number(), n: z.number() }), key: 'id', durable: true } },
})

const perKey = processor('per-key', { from: event(visits, 'seen'), to: view('per-key', { key: 'id' }) }, (seen) =>
  seen
    .time((v) => v.at)
    .keyBy((v) => v.id)
    .window(tumbling('1h'))
    .aggregate({ n: count(), total: sum((v) => v.n) }),
)

/** A million keys in one open window: what they cost, and how long they take to come back. */
export async function keys(url: string) {
  const bus = await connect({ servers: url })
  const { seen } = client(bus, visits)
  return async ({ keys: wanted, fill }: { keys: number; fill?: boolean }) => {
    if (fill) {
      await ensureContractStreams(bus, visits)
      const underWay = new Set<Promise<unknown>>()
      for (let i = 0; i < wanted; i++) {
        const { subject, data, headerLines } = seen.encode({ id: `visitor-${i}`, at: 1, n: i })
        const one = persist(bus, subject, data, { deadline: Date.now() + 60_000, headerLines }).finally(() =>
          underWay.delete(one),
        )
        underWay.add(one)
        if (underWay.size >= 2_000) await Promise.race(underWay)
      }
      await Promise.all(underWay)
    }
    global.gc?.()
    const before = process.memoryUsage().rss
    const began = performance.now()
    const unit = await serve(bus, perKey)
    const ready = performance.now() - began
    while (unit.stats!().keys! < wanted) await sleep(10)
    const took = performance.now() - began
    global.gc?.()
    const rss = process.memoryUsage().rss - before
    await unit.drain()
    return { ready, took, bytesPerKey: rss / wanted }
  }
}
