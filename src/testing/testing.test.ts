import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf } from '../../test/support/nats.ts'
import type { Bus } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { service } from '../service/index.ts'
import {
  count,
  enrich,
  event,
  job,
  mean,
  messages,
  processed,
  processor,
  readView,
  sum,
  table,
  tumbling,
  view,
} from '../stream/index.ts'
import { defineUnit } from '../unit/internal.ts'
import { runProgram, start, until } from './index.ts'

const Flight = z.object({ id: z.string(), origin: z.string(), date: z.string(), delay: z.number() })
const flights = contract('testflights', {
  version: '1.0.0',
  endpoints: { hello: { in: z.object({ name: z.string() }), out: z.object({ text: z.string() }) } },
  events: { departed: { payload: Flight, key: 'origin', durable: true } },
  jobs: { rebook: { payload: Flight } },
})
const hello = service(flights, {
  hello: async ({ name }) => ({ text: `Hello ${name}` }),
  rebook: async () => undefined,
})
const delays = processor(
  'testdelays',
  { from: event(flights, 'departed'), to: view('testdelays', { key: 'origin' }) },
  (departed) =>
    departed
      .branch(
        (f) => f.delay > 180,
        (stranded) => stranded.to(job(flights, 'rebook', { id: (f) => f.id })),
      )
      .time((f) => f.date, { outOfOrder: '10m' })
      .keyBy((f) => f.origin)
      .window(tumbling('1h'), { as: 'hour' })
      .aggregate({ flights: count(), mean: mean((f) => f.delay) }),
)
const counts = processor(
  'testcounts',
  { from: event(flights, 'departed'), to: view('testcounts', { key: 'origin' }) },
  (departed) => departed.keyBy((f) => f.origin).aggregate({ flights: count() }),
)

const flight = (id: string, minute: number, delay = 10) => ({
  id,
  origin: 'ATL',
  date: `2001-01-01T00:${String(minute).padStart(2, '0')}:00Z`,
  delay,
})

/** A unit that leaves something behind. */
const untidy = (name: string, leave: (host: { bus: Bus }) => (() => void) | void) =>
  defineUnit({
    kind: 'untidy',
    name,
    async start(host) {
      const clean = leave(host)
      cleaning.push(() => clean?.())
      return { drain: async () => undefined }
    },
  })
const cleaning: (() => void)[] = []
const leftBy = async (...given: Parameters<typeof untidy>) => {
  const world = await start({ units: [untidy(...given)] })
  const error = await world.close().then(
    () => undefined,
    (failed) => failed,
  )
  for (const clean of cleaning.splice(0)) clean()
  return error
}

describe('a world', () => {
  it('runs units on a server of its own, with typed clients, and ends with nothing left', async () => {
    await using world = await start({ units: [hello, counts] })
    await using other = await start({ units: [{ unit: hello, name: 'greeter' }] })
    expect(other.server.url).not.toBe(world.server.url)
    expect(other.running.status().map(({ unit, state }) => [unit, state])).toEqual([['greeter', 'ready']])
    const api = world.client(flights)
    expect(await api.hello({ name: 'Ada' })).toEqual({ text: 'Hello Ada' })
    await processed(world.bus, counts, await api.departed.publish(flight('1', 1)))
    const rows = readView(world.bus, view('testcounts', { key: 'origin' }))
    expect(await rows.get('ATL')).toEqual({ origin: 'ATL', flights: 1 })
    await rows.close()
  })

  it('runs a composition', async () => {
    await using world = await start({ composition: 'examples/airline', only: ['airports'] })
    expect(new Set(world.running.status().map(({ unit, state }) => `${unit} ${state}`))).toEqual(
      new Set(['airports ready']),
    )
  })

  it('says who did not drain', async () => {
    const hangs = defineUnit({
      kind: 'hangs',
      name: 'hangs',
      start: async () => ({ drain: () => new Promise(() => {}) }),
    })
    const throws = defineUnit({
      kind: 'throws',
      name: 'throws',
      start: async () => ({ drain: () => Promise.reject(new Error('no way')) }),
    })
    const world = await start({ units: [hangs, throws], drain: '100ms' })
    await expect(world.close()).rejects.toMatchObject({
      code: 'LEFT_BEHIND',
      message: expect.stringMatching(/unit 'hangs' had not drained after 0.1 s.*unit 'throws' did not drain: no way/),
    })
  })

  it('says which timers, subscriptions, servers and processes were left behind, and where they were made', async () => {
    const timer = await leftBy('ticks', () => {
      const ticking = setInterval(() => undefined, 1_000)
      return () => clearInterval(ticking)
    })
    expect(timer?.message).toMatch(/a timer made at src\/testing\/testing\.test\.ts:\d+/)
    const subscription = await leftBy('listens', ({ bus }) => void bus.subscribe('left.over', () => undefined))
    expect(subscription?.message).toMatch(/subscriptions that no unit ended: left\.over/)
    const server = await leftBy('serves', () => {
      const listening = createServer().listen(0)
      return () => void listening.close()
    })
    expect(server?.message).toMatch(/a server that listens made at src\/testing/)
    const child = await leftBy('forks', () => {
      const sleeping = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
      return () => void sleeping.kill()
    })
    expect(child?.message).toMatch(/a process \(pid \d+\) made at src\/testing/)
    const tidy = await leftBy('tidy', () => void setTimeout(() => undefined, 1_000_000).unref())
    expect(tidy).toBeUndefined()
  })

  it('that cannot start leaves nothing running', async () => {
    const broken = defineUnit({ kind: 'broken', name: 'broken', start: () => Promise.reject(new Error('not today')) })
    await expect(start({ units: [hello, broken] })).rejects.toThrow(/not today/)
    expect(await codeOf(start({}))).toBe('INVALID_OPTION')
    expect(await codeOf(start({ units: [hello, hello] }))).toBe('INVALID_OPTION')
    expect(await codeOf(start({ units: [hello], composition: 'x' }))).toBe('INVALID_OPTION')
  })
})

describe('until', () => {
  it('gives what the condition gave, and says which condition was not met', async () => {
    let asked = 0
    expect(await until(() => (++asked > 3 ? 'there' : undefined))).toBe('there')
    await expect(until(() => asked === 0, '30ms')).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringMatching(/within 30 ms: \(\) => asked === 0/),
    })
    await expect(until(() => Promise.reject(new Error('wrong')))).rejects.toThrow('wrong')
  })
})

describe('runProgram', () => {
  it('gives rows, effects and errors of plain events, the same each time', () => {
    const events = [flight('1', 10, 20), flight('2', 50, 40), { origin: 'ATL' }, flight('3', 55, 240)]
    const ran = runProgram(delays, events)
    expect(ran.rows).toEqual([{ origin: 'ATL', hour: '2001-01-01T00:00:00Z', flights: 3, mean: 100 }])
    expect(ran.views).toEqual({ testdelays: ran.rows })
    expect(ran.effects).toEqual([{ to: 'job testflights.rebook', value: flight('3', 55, 240) }])
    expect(ran.errors.map(({ code }) => code)).toEqual(['INVALID_INPUT'])
    expect(runProgram(delays, { departed: events })).toEqual(ran)
    expect(runProgram(delays, events, { end: false }).rows).toEqual([])
  })

  it('takes several sources by name, tables first, or one by one', () => {
    const priced = processor(
      'testpriced',
      {
        from: {
          sold: messages('SOLD', { subject: 'sold.*', schema: z.object({ item: z.string(), n: z.number() }) }),
          prices: table('PRICES', { schema: z.number() }),
        },
        to: view('testpriced', { key: 'item' }),
      },
      ({ sold, prices }) =>
        sold
          .keyBy((one) => one.item)
          .lookup(prices, (one, price) => ({ ...one, total: one.n * (price ?? 0) }))
          .keyBy((one) => one.item)
          .aggregate({ total: sum((one) => one.total) }),
    )
    const sold = [
      { item: 'a', n: 2 },
      { item: 'a', n: 1 },
    ]
    expect(runProgram(priced, { sold, prices: [{ key: 'a', value: 5 }] }).rows.at(-1)).toEqual({ item: 'a', total: 15 })
    const oneByOne = [
      { sold: sold[0] },
      { prices: { key: 'a', value: 5 } },
      { sold: sold[1] },
      { prices: { key: 'a' } },
    ]
    expect(runProgram(priced, oneByOne).rows.at(-1)).toEqual({ item: 'a', total: 5 })
    expect(() => runProgram(priced, { soled: [] })).toThrow(/has no source 'soled'; it has sold, prices/)
  })

  it('needs to be told what a service would have answered, and a processor', () => {
    const asks = enrich(
      messages('SOLD', { subject: 'sold.*' }),
      async () => 1,
      (value, n) => ({ value, n }),
    )
    const asking = processor('testasks', { from: asks, to: view('testasks', { key: 'k' }) }, (values) =>
      values.keyBy(() => 'k').aggregate({ n: sum((one) => one.n) }),
    )
    expect(runProgram(asking, [{}]).errors.map(({ code }) => code)).toEqual(['INVALID_OPTION'])
    const enriched = (value: unknown) => ({ value, n: 3 })
    expect(runProgram(asking, [{}], { enriched }).rows).toEqual([{ k: 'k', n: 3 }])
    expect(() => runProgram(hello, [])).toThrow(/needs what processor/)
  })
})
