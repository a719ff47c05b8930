// Partitions have one watermark: rows and what is late are those of one partition, message by message.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { collected } from '../../test/support/effects.ts'
import { until, withNats } from '../../test/support/nats.ts'
import { rowsOf as viewRows } from '../../test/support/rows.ts'
import { streamInfo } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve } from '../service/index.ts'
import type { RunningUnit } from '../unit/internal.ts'
import { Dataflow } from './dataflow.ts'
import {
  count,
  endOfInput,
  enrich,
  event,
  inspectProcessor,
  partitionOf,
  processor,
  sum,
  tumbling,
  view,
  viewStream,
} from './index.ts'
import { decodeMark, encodeMark } from './marks.ts'
import { Node, Plan, type Sink, Stream } from './program/index.ts'
import { Scout } from './scout.ts'
import { hopping, session, sliding, type WindowShape } from './windows/index.ts'

interface Event {
  readonly source: number
  readonly key: string
  readonly at: number
  readonly storedMs: number
}
const out = view('out', { key: 'key' }) as never

/** What comes out when each partition feeds its own keys and hears of the clocks of the others. */
function split(describe: (...inputs: Stream<Event>[]) => Sink, list: readonly Event[], partitions: number) {
  const plan = new Plan()
  const end = describe(...[0, 1].map((i) => new Stream<Event>(Node.root(plan, new Set([i]), i))))
  const scout = Scout.of(plan)!
  const ran = { rows: [] as string[], effects: [] as string[], late: 0 }
  const dataflows = Array.from({ length: partitions }, () => {
    const dataflow = new Dataflow({
      startEffect: (_effect, value) => ran.effects.push(JSON.stringify(value)),
      reject: (error) => {
        throw error
      },
    })
    end.connect(dataflow)
    return dataflow
  })
  list.forEach((value, sequence) => {
    const owner = partitionOf(value.key, partitions)
    const ticks = scout.ticksOf(sequence, value.source, value, value.storedMs)
    dataflows.forEach((dataflow, partition) => {
      if (partition === owner) dataflow.feed(value.source, value, value.storedMs)
      else for (const { clock, ms, storedMs } of ticks) dataflow.tickElsewhere(clock, ms, storedMs)
    })
  })
  for (const dataflow of dataflows) {
    for (const source of [0, 1]) dataflow.end(source)
    ran.rows.push(...dataflow.rows.map(({ key, value }) => JSON.stringify([key, value])))
    ran.late += dataflow.late
  }
  return { rows: ran.rows.sort(), effects: ran.effects.sort(), late: ran.late }
}

const events = fc.array(
  fc.record({
    source: fc.constantFrom(0, 1),
    key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    at: fc.integer({ min: 0, max: 1_000 }),
    storedMs: fc.integer({ min: 0, max: 300 }),
  }),
  { maxLength: 80 },
)
/** In the order in which the server stored them, with some time between. */
const stored = events.map((list) => {
  let now = 0
  return list.map((one) => {
    now += one.storedMs
    return { ...one, storedMs: now }
  })
})
const sizes = fc.integer({ min: 1, max: 200 })
const shapes: fc.Arbitrary<WindowShape> = fc.oneof(
  sizes.map((size) => tumbling(size)),
  fc.tuple(sizes, sizes).map(([a, b]) => hopping(Math.max(a, b), { every: Math.min(a, b) })),
  sizes.map((gap) => session(gap)),
  sizes.map((size) => sliding(size)),
)
const emissions = fc.constantFrom('closed' as const, 'update' as const)

describe('partitions that hear of the clocks of the others', () => {
  it('give the rows of one partition, and count the same events as late', () => {
    fc.assert(
      fc.property(stored, shapes, emissions, sizes, sizes, (list, shape, emit, outOfOrder, lateness) => {
        const program = (input: Stream<Event>) =>
          input
            .filter((e) => e.at % 7 !== 0)
            .flatMap((e) => [e, { ...e, at: e.at + 5 }])
            .time((e) => e.at, { outOfOrder, maxAhead: false })
            .keyBy((e) => e.key)
            .window(shape, { emit: emit as 'update', lateness, late: (late) => late.to(collected('late')) })
            .aggregate({ n: count(), total: sum((e) => e.at) })
            .to(out)
        const one = list.map((e) => ({ ...e, source: 0 }))
        const expected = split(program, one, 1)
        for (const partitions of [2, 4]) expect(split(program, one, partitions)).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })

  it('do so with clocks of several sources, that fall silent and come back, and on side lines', () => {
    fc.assert(
      fc.property(stored, shapes, sizes, sizes, (list, shape, outOfOrder, idle) => {
        const timed = (input: Stream<Event>) => input.time((e) => e.at, { outOfOrder, idle, maxAhead: false })
        const program = (left: Stream<Event>, right: Stream<Event>) => {
          const late = (side: Stream<Event>) =>
            timed(side)
              .keyBy((e) => e.key)
              .window(shape)
              .aggregate({ odd: count() })
              .to(out)
          return timed(left)
            .keyBy((e) => e.key)
            .join(
              timed(right.branch((e) => e.at % 2 === 1, late)).keyBy((e) => e.key),
              { within: 50, kind: 'outer' },
              (l, r, key) => ({
                key,
                left: l?.at,
                right: r?.at,
              }),
            )
            .keyBy((pair) => pair.key)
            .window(shape)
            .aggregate({ n: count(), total: sum((pair) => (pair.left ?? 0) - (pair.right ?? 0)) })
            .to(out)
        }
        const expected = split(program as never, list, 1)
        for (const partitions of [2, 4]) expect(split(program as never, list, partitions)).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })
})

it('a mark says what it was given, and nonsense is none', () => {
  const ticks = [
    { sequence: 5, clock: 3, ms: -17, storedMs: 0 },
    { sequence: 9, clock: 1, ms: 1_000_000_000_000, storedMs: 1_700_000_000_000 },
  ]
  const mark = { partition: 2, after: 5, to: 12, wants: 9, ticks }
  expect(decodeMark('in.x.marks.2', encodeMark(mark))).toEqual(mark)
  for (const text of [
    '',
    '{',
    '[]',
    '{}',
    '{"after":0,"to":1,"wants":1,"ticks":[1]}',
    '{"after":0,"to":"9","wants":1,"ticks":[]}',
  ])
    expect(decodeMark('in.x.marks.2', Buffer.from(text))).toBeUndefined()
  expect(decodeMark('in.x.marks.y', encodeMark(mark))).toBeUndefined()
})

const nats = withNats()
let names = 0
const Reading = z.object({ at: z.number(), room: z.string(), value: z.number() })

function sensor() {
  names += 1
  const readings = contract(`aligned${names}`, {
    version: '1.0.0',
    events: { read: { payload: Reading, key: 'room', durable: true } },
  })
  const rooms = (name: string, partitions: number) =>
    processor(
      name,
      { from: event(readings, 'read'), to: view(name, { key: 'room' }), partitions, checkpointMs: 30, termMs: 600 },
      (input) =>
        input
          .time((r) => r.at, { outOfOrder: 50 })
          .keyBy((r) => r.room)
          .window(tumbling(100))
          .aggregate({ n: count(), total: sum((r) => r.value) }),
    )
  return { readings, rooms, name: `aligned${names}` }
}

const statOf = (unit: RunningUnit, key: string) => unit.stats!()[key]!

/** The rows of a view, in the order of their keys. */
async function rowsOf(name: string): Promise<string[]> {
  if (!(await streamInfo(nats.bus, viewStream(name)))) return []
  return (await viewRows(nats.bus, name)).map((row) => JSON.stringify(row)).sort()
}

describe('a processor of several partitions', () => {
  it('closes the window of a key that gets nothing more, while others go on', async () => {
    const { readings, rooms, name } = sensor()
    const api = client(nats.bus, readings)
    await using unit = await serve(nats.bus, rooms(name, 4))
    const quiet = 'quiet'
    const busy = ['a', 'b', 'c', 'd'].find((key) => partitionOf(key, 4) !== partitionOf(quiet, 4))!
    await api.read.publish({ at: 10, room: quiet, value: 1 })
    await api.read.publish({ at: 1_000, room: busy, value: 2 })
    await until(async () => (await rowsOf(name)).length === 1)
    expect(await rowsOf(name)).toEqual(['{"room":"quiet","start":"1970-01-01T00:00:00Z","n":1,"total":1}'])
    // what they tell each other is no input: nothing is counted, nothing lags, and all say the same time
    expect([statOf(unit, 'in'), unit.vitals!().lag]).toEqual([2, 0])
    const [inspection] = await inspectProcessor(nats.bus, name)
    expect(new Set(inspection!.partitions.map(({ watermarkMs }) => watermarkMs))).toEqual(new Set([950]))
  })

  it('does so with times that a service tells, however long each answer takes', async () => {
    const { readings, name } = sensor()
    const api = client(nats.bus, readings)
    const asked = (as: string, partitions: number) =>
      processor(
        as,
        {
          from: enrich(
            event(readings, 'read'),
            async (r) => {
              await new Promise((resolve) => setTimeout(resolve, r.value % 7))
              return r.at + 1
            },
            (r, at) => ({ ...r, at }),
            { concurrency: 20 },
          ),
          to: view(as, { key: 'room' }),
          partitions,
          checkpointMs: 30,
        },
        (input) =>
          input
            .time((r) => r.at)
            .keyBy((r) => r.room)
            .window(tumbling(100))
            .aggregate({ n: count(), total: sum((r) => r.value) }),
      )
    const units = await Promise.all(
      [1, 3].map((partitions) => serve(nats.bus, asked(`${name}-${partitions}`, partitions))),
    )
    const stored: Promise<unknown>[] = []
    for (let i = 0; i < 200; i++)
      stored.push(api.read.publish({ at: i * 10 - (i % 5) * 60, room: `r${i % 9}`, value: i }))
    await Promise.all(stored)
    const end = endOfInput(readings, 'read')
    nats.bus.publish(end.subject, end.data, end.headerLines)
    await Promise.all(units.map((unit) => unit.done))
    const expected = await rowsOf(`${name}-1`)
    await until(async () => (await rowsOf(`${name}-3`)).length >= expected.length)
    expect(await rowsOf(`${name}-3`)).toEqual(expected)
    expect(statOf(units[1]!, 'late')).toBe(statOf(units[0]!, 'late'))
    expect(statOf(units[0]!, 'late')).toBeGreaterThan(0)
    for (const unit of units) await unit.drain()
  })

  it('finds late what follows an end of input, to the message', async () => {
    const { readings, rooms, name } = sensor()
    const api = client(nats.bus, readings)
    const sent: Promise<unknown>[] = []
    const send = (from: number, until: number) => {
      for (let i = from; i < until; i++) sent.push(api.read.publish({ at: i * 10, room: `r${i % 9}`, value: i }))
    }
    const end = endOfInput(readings, 'read')
    send(0, 100)
    await Promise.all(sent)
    nats.bus.publish(end.subject, end.data, end.headerLines)
    send(100, 140)
    await Promise.all(sent)
    nats.bus.publish(end.subject, end.data, end.headerLines)
    const units = await Promise.all(
      [1, 2, 4].map((partitions) => serve(nats.bus, rooms(`${name}-${partitions}`, partitions))),
    )
    await until(() => units.every((unit) => statOf(unit, 'in') === 142))
    expect(units.map((unit) => statOf(unit, 'late'))).toEqual([40, 40, 40])
    for (const unit of units) await unit.drain()
  })

  it('writes the rows of one partition and counts the same as late, whoever dies', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: fc.nat({ max: 9 }), back: fc.integer({ min: 0, max: 300 }) }), {
          minLength: 150,
          maxLength: 300,
        }),
        async (list) => {
          const { readings, rooms, name } = sensor()
          const api = client(nats.bus, readings)
          const runs = [1, 2, 4]
          let buses = await Promise.all(runs.map(() => nats.connect()))
          let units = await Promise.all(
            runs.map((partitions, i) => serve(buses[i]!, rooms(`${name}-${partitions}`, partitions))),
          )
          const third = Math.ceil(list.length / 3)
          for (let from = 0; from < list.length; from += third) {
            await Promise.all(
              list
                .slice(from, from + third)
                .map(({ key, back }, i) =>
                  api.read.publish({ at: (from + i) * 10 - back, room: `r${key}`, value: from + i }),
                ),
            )
            // cut off without a word, somewhere on the way
            await until(() => units.every((unit) => statOf(unit, 'in') > 0))
            await Promise.all(buses.map((bus) => bus.nats.close()))
            buses = await Promise.all(runs.map(() => nats.connect()))
            units = await Promise.all(
              runs.map((partitions, i) => serve(buses[i]!, rooms(`${name}-${partitions}`, partitions))),
            )
            await until(() => units.every((unit, i) => statOf(unit, 'partitions') === runs[i]))
          }
          const end = endOfInput(readings, 'read')
          nats.bus.publish(end.subject, end.data, end.headerLines)
          await Promise.all(units.map((unit) => unit.done))
          const late = units.map((unit) => statOf(unit, 'late'))
          await until(async () => (await rowsOf(`${name}-4`)).length >= (await rowsOf(`${name}-1`)).length)
          const expected = await rowsOf(`${name}-1`)
          expect(late).toEqual([late[0], late[0], late[0]])
          for (const partitions of [2, 4]) expect(await rowsOf(`${name}-${partitions}`)).toEqual(expected)
          for (const unit of units) await unit.drain()
        },
      ),
      { numRuns: 2 },
    )
  }, 60_000)
})
