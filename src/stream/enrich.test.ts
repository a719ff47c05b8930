// Every wait of a processor for others has an end, and a stop ends it at once.
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { rowsOf } from '../../test/support/rows.ts'
import { ensureStream, now, persist, streamInfo } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import { Effects } from './effects.ts'
import { type Effect, enrich, errorStream, messages, processor, view } from './index.ts'

const nats = withNats()
const Numbered = z.object({ n: z.number() })

const put = async (stream: string, n: number) => {
  await persist(nats.bus, stream, Buffer.from(`{"n":${n}}`), { deadline: now() + 5_000 })
}

it('a question that is not answered is asked again', async () => {
  await ensureStream(nats.bus, { name: 'SLOW', subjects: ['slow'] })
  const aborted: number[] = []
  let asked = 0
  const source = enrich(
    messages('SLOW', { subject: 'slow', schema: Numbered }),
    async ({ n }, { signal }) => {
      asked += 1
      if (asked > 1) return n * 2
      signal.addEventListener('abort', () => aborted.push(n))
      return new Promise<number>(() => undefined)
    },
    ({ n }, double) => ({ n, double }),
    { timeoutMs: 100 },
  )
  const unit = processor('slow', { from: source, to: view('slow', { key: 'key' }) }, (s) =>
    s.keyBy((e) => `k${e.n}`).rows(({ double }) => ({ double })),
  )
  await using running = await serve(nats.bus, unit)
  await put('slow', 21)
  await until(() => running.stats!().out === 1)
  await until(async () => (await streamInfo(nats.bus, 'VIEW_slow'))!.state.messages === 1)
  expect(await rowsOf(nats.bus, 'slow')).toEqual([{ key: 'k21', double: 42 }])
  expect(aborted).toEqual([21])
})

it('a stop gives up questions under way; their values are read again and nothing is refused', async () => {
  await ensureStream(nats.bus, { name: 'MUTE', subjects: ['mute'] })
  let mute = true
  const source = enrich(
    messages('MUTE', { subject: 'mute', schema: Numbered }),
    ({ n }) => (mute && n > 1 ? new Promise<number>(() => undefined) : Promise.resolve(n)),
    ({ n }) => ({ n }),
    { concurrency: 2 },
  )
  const unit = processor('mute', { from: source, to: view('mute', { key: 'key' }) }, (s) =>
    s.keyBy((e) => `k${e.n}`).rows(({ n }) => ({ n })),
  )
  const running = await serve(nats.bus, unit)
  for (let n = 1; n <= 6; n++) await put('mute', n)
  await until(() => running.stats!().position === 1)
  const began = now()
  await running.drain()
  expect(now() - began).toBeLessThan(2_000)
  mute = false
  await using again = await serve(nats.bus, unit)
  await until(() => again.stats!().position === 6)
  await until(async () => (await streamInfo(nats.bus, 'VIEW_mute'))!.state.messages === 6)
  expect((await rowsOf(nats.bus, 'mute')).map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6])
  expect(again.stats!().replayed).toBe(0) // its place was written down
  expect(await streamInfo(nats.bus, errorStream('mute'))).toBeUndefined()
})

it('an effect under way is told when the processor stops', async () => {
  let reported = false
  const hanging: Effect<unknown> = {
    name: 'hanging',
    open: () => (_value, _id, signal) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          reported = true
        })
      }),
  }
  const effects = new Effects([hanging as never], { bus: nats.bus, log: {} as never }, async () => undefined)
  void effects.start(0, 1, 'x')
  await new Promise((resolve) => setImmediate(resolve))
  expect(reported).toBe(false)
  effects.stop()
  expect(reported).toBe(true)
})
