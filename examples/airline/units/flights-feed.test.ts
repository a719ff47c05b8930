import { describe, expect, it } from 'vitest'
import { readSpan } from '../../../src/bus/index.ts'
import { client, serve } from '../../../src/service/index.ts'
import { until, withNats } from '../../../test/support/nats.ts'
import { flights } from '../contracts/flights.ts'
import feed from './flights-feed.ts'

const nats = withNats()

describe('the feed', () => {
  it('goes on when somebody else puts events into its stream: every flight once, in order, and theirs', async () => {
    const limit = 4_000
    const running = await serve(nats.bus, feed, { config: { speed: 86_400, limit } as never })
    let failed: unknown
    running.done!.catch((error) => {
      failed = error
    })
    const { departed } = client(nats.bus, flights)
    const foreign = { id: 9, date: '2001-01-01T00:00:00Z', delay: 0, distance: 1, origin: 'ATL', destination: 'SFO' }
    for (let n = 0; n < 4; n++) {
      await departed.publish(foreign, { id: `foreign-${n}` })
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    await until(() => failed !== undefined || running.stats!().position === limit, 30_000)
    expect(failed).toBeUndefined()
    await running.done
    const ids: string[] = []
    for await (const { headers } of readSpan(nats.bus, 'EVT_flights_departed')) ids.push(headers.get('ce-id') ?? 'end')
    expect(ids.filter((id) => id.startsWith('foreign'))).toHaveLength(4)
    expect(ids.filter((id) => !id.startsWith('foreign'))).toEqual([
      ...Array.from({ length: limit }, (_, n) => `flight-${n}`),
      'end',
    ])
    expect(running.stats!().sent).toBe(limit)
    await running.drain()
  })
})
