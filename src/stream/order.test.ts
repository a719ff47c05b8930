// What is on time may come in any order: the final rows are the same. Of count windows, running aggregates and lookups
// "as of now" the order is the meaning, so they are not here.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { collected } from '../../test/support/effects.ts'
import { type Fed, type Ran, runProgram } from '../../test/support/program.ts'
import { collect, count, first, last, max, sum } from './aggregates/index.ts'
import type { KeyedStream, Sink, Stream } from './program/index.ts'
import { view } from './view.ts'
import { calendar, hopping, session, sliding, tumbling, type WindowShape } from './windows/index.ts'

interface Event {
  readonly side: 0 | 1
  readonly key: string
  readonly at: number
  readonly id: number
}

const bound = 40
const out = view('out', { key: 'key' }) as never

// small numbers, so that bounds are met exactly; ids tell events of one moment apart
const events = fc
  .array(
    fc.record({
      side: fc.constantFrom(0 as const, 1 as const),
      key: fc.constantFrom('a', 'b'),
      at: fc.integer({ min: -60, max: 300 }),
      early: fc.integer({ min: 0, max: bound }),
      other: fc.integer({ min: 0, max: bound }),
    }),
    { maxLength: 40 },
  )
  .map((list) => {
    const known = list.map((one, id) => ({ ...one, id }))
    const by = (order: 'early' | 'other'): Event[] =>
      [...known].sort((a, b) => a.at - a[order] - (b.at - b[order]) || a.id - b.id)
    // events that move less than the bound are never late
    return [known.toSorted((a, b) => a.at - b.at), by('early'), by('other')] as const
  })
const sizes = fc.integer({ min: 1, max: 60 })
const shapes: fc.Arbitrary<WindowShape> = fc.oneof(
  sizes.map((size) => tumbling(size)),
  fc.tuple(sizes, sizes).map(([a, b]) => hopping(Math.max(a, b), { every: Math.min(a, b) })),
  sizes.map((gap) => session(gap)),
  sizes.map((size) => sliding(size)),
  fc.constant(calendar('day', { timeZone: 'Europe/Berlin' })),
)
const emissions = fc.oneof(
  fc.constant('closed' as const),
  fc.constant('update' as const),
  sizes.map((early) => ({ early })),
)

const keyed = (input: Stream<Event>): KeyedStream<Event, 'timed'> =>
  input.time((e) => e.at, { outOfOrder: bound, maxAhead: false, idle: '10d' }).keyBy((e) => e.key)

const fed = (list: readonly Event[], sources: number): Fed[] => [
  ...list.map((value) => ({ source: sources === 1 ? 0 : value.side, value })),
  ...Array.from({ length: sources }, (_, source) => ({ source, value: undefined, end: true })),
]

/** Final rows and effects, in no order. */
const reported = ({ rows, effects, rejected, late, open }: Ran) => ({
  rows: rows
    .filter(({ value }) => value.final !== false)
    .map(({ key, value }) => JSON.stringify([key, value]))
    .sort(),
  effects: effects.map((effect) => JSON.stringify(effect)).sort(),
  rejected: rejected.map(String),
  late,
  open,
})

function same(
  describe: (...inputs: Stream<Event>[]) => Sink,
  orders: readonly (readonly Event[])[],
  sources = 1,
): void {
  const [expected, ...others] = orders.map((list) => reported(runProgram(describe, fed(list, sources), { sources })))
  expect(expected).toMatchObject({ rejected: [], late: 0, open: 0 })
  for (const other of others) expect(other).toEqual(expected)
}

// what counts events of one moment in the order of their coming is left out: ids do not agree then
const aggregates = {
  n: count<Event>(),
  total: sum((e: Event) => e.id),
  greatest: max((e: Event) => e.id),
  firstAt: first((e: Event) => e.at),
  lastAt: last((e: Event) => e.at),
  all: collect((e: Event) => e.at),
}

describe('events that are on time give the same rows in any order', () => {
  it('in windows of every kind', () => {
    fc.assert(
      fc.property(events, shapes, emissions, sizes, (orders, shape, emit, lateness) => {
        for (const wait of [0, lateness]) {
          const program = (input: Stream<Event>) =>
            keyed(input)
              .window(shape, { emit: emit as 'update', lateness: wait })
              .aggregate(aggregates)
              .to(out)
          same(program, orders)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('in windows of windows', () => {
    fc.assert(
      fc.property(events, shapes, shapes, (orders, first, second) => {
        const program = (input: Stream<Event>) =>
          keyed(input)
            .window(first)
            .aggregate({ n: count(), total: sum((e) => e.id) })
            .stream('key')
            .keyBy((row) => row.key)
            .window(second)
            .aggregate({ rows: count(), n: sum((row) => row.n), total: sum((row) => row.total ?? 0) })
            .to(out)
        same(program, orders)
      }),
      { numRuns: 200 },
    )
  })

  it('in stream–stream joins, and in windows after them', () => {
    const spans = fc.integer({ min: 0, max: 80 })
    const kinds = fc.constantFrom('inner' as const, 'left' as const, 'outer' as const)
    fc.assert(
      fc.property(events, spans, spans, kinds, shapes, (orders, before, after, kind, shape) => {
        const joined = (left: Stream<Event>, right: Stream<Event>) =>
          keyed(left).join(keyed(right), { within: { before, after }, kind: kind as 'outer' }, (l, r, key) => ({
            key,
            left: l?.id,
            right: r?.id,
          }))
        same((left, right) => joined(left!, right!).to(collected('pairs')), orders, 2)
        const windowed = (left: Stream<Event>, right: Stream<Event>) =>
          joined(left, right)
            .keyBy((pair) => pair.key)
            .window(shape)
            .aggregate({ n: count(), lefts: sum((pair) => pair.left ?? 0), rights: sum((pair) => pair.right ?? 0) })
            .to(out)
        same((left, right) => windowed(left!, right!), orders, 2)
      }),
      { numRuns: 300 },
    )
  })

  it('looked up in tables as of their own time, and in windows after that', () => {
    // a table's key has one value at a time
    const once = events.map((orders) => {
      const [sorted] = orders
      const kept = new Map(sorted.filter(({ side }) => side === 1).map((one) => [`${one.key} ${one.at}`, one.id]))
      return orders.map((list) => list.filter((e) => e.side === 0 || kept.get(`${e.key} ${e.at}`) === e.id))
    })
    const spans = fc.integer({ min: 0, max: 80 })
    fc.assert(
      fc.property(once, spans, fc.integer({ min: 1, max: 80 }), shapes, (orders, grace, history, shape) => {
        const found = (left: Stream<Event>, right: Stream<Event>) =>
          keyed(left).lookup(keyed(right).table({ history }), (l, r) => ({ ...l, found: r?.id }), { grace })
        same((left, right) => found(left!, right!).to(collected('found')), orders, 2)
        const windowed = (left: Stream<Event>, right: Stream<Event>) =>
          found(left, right)
            .keyBy((e) => e.key)
            .window(shape)
            .aggregate({ n: count(), found: sum((e) => e.found ?? -1) })
            .to(out)
        same((left, right) => windowed(left!, right!), orders, 2)
        // and what it is told is what was valid then
        const { effects } = runProgram(
          (left, right) => found(left!, right!).to(collected('found')),
          fed(orders[1]!, 2),
          { sources: 2 },
        )
        for (const { key, at, found } of effects as (Event & { found?: number })[]) {
          const valid = orders[0]!.filter((e) => e.side === 1 && e.key === key && e.at <= at).at(-1)
          expect(found).toBe(valid?.id)
        }
      }),
      { numRuns: 300 },
    )
  })
})
