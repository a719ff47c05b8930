// Whatever takes a duration takes one above 24.8 days: Node would make 1 ms of it, and says so with a warning.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ensureStream } from '../src/bus/index.ts'
import { contract } from '../src/contract/index.ts'
import { Checks } from '../src/heartbeat/index.ts'
import { client, serve, service } from '../src/service/index.ts'
import { fromStream, sseGateway } from '../src/sse/index.ts'
import { count, event, processor, view } from '../src/stream/index.ts'
import { withNats } from './support/nats.ts'

const daysMs = 40 * 86_400_000

describe('a duration of 40 days', () => {
  const nats = withNats()

  it('is as long as it says: for connections, calls, jobs, checks, processors and gateways', async () => {
    const warnings: string[] = []
    const heard = (warning: Error) => warnings.push(`${warning.name}: ${warning.message}`)
    process.on('warning', heard)
    const bus = await nats.connect({ timeoutMs: daysMs, silenceMs: daysMs })
    const shop = contract('shop', {
      version: '1.0.0',
      endpoints: {
        get: {
          in: z.object({}),
          out: z.string(),
          idempotent: true,
          timeoutMs: daysMs,
          resilience: { hedgeAfterMs: daysMs, breaker: { failures: 3, forMs: daysMs } },
        },
      },
      events: { sold: { payload: z.object({ id: z.string() }), key: 'id', durable: true } },
      jobs: { pack: { payload: z.object({}), lease: '40d', timeout: '40d', backoff: { from: '40d', to: '40d' } } },
    })
    await using _ = await serve(bus, service(shop, { get: () => 'got', pack: () => undefined }))
    const api = client(bus, shop)
    expect(await api.get({})).toBe('got')
    expect(await api.get.gather({}, { count: 1, stallMs: daysMs })).toEqual([{ ok: true, value: 'got' }])
    await api.pack.enqueue({}, { timeoutMs: daysMs })
    await api.sold.publish({ id: 'a' }, { timeoutMs: daysMs })
    const counted = processor(
      'counted',
      { from: event(shop, 'sold'), to: view('counted', { key: 'key' }), checkpointMs: daysMs },
      (sold) => sold.keyBy(({ id }) => id).aggregate({ n: count() }),
    )
    await using __ = await serve(bus, counted)
    await ensureStream(bus, { name: 'RAW', subjects: ['raw.*'] })
    const gateway = sseGateway({ streams: { raw: fromStream('RAW') } })
    await using ___ = await serve(bus, gateway, { config: { port: 0, heartbeatMs: daysMs } as never })
    await new Checks({ long: { run: () => true, timeoutMs: daysMs, cacheMs: daysMs } }).refresh()
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.off('warning', heard)
    expect(warnings).toEqual([])
  })
})
