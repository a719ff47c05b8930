import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { collected } from '../../../test/support/effects.ts'
import { type Fed, runProgram } from '../../../test/support/program.ts'
import { count } from '../aggregates/index.ts'
import type { KeyedStream, Stream } from '../program/index.ts'
import { view } from '../view.ts'
import { tumbling } from '../windows/index.ts'

interface Event {
  side: 0 | 1
  key: string
  at: number
  id: number
}

const events = fc
  .array(
    fc.record({
      side: fc.constantFrom(0 as const, 1 as const),
      key: fc.constantFrom('a', 'b'),
      at: fc.integer({ min: -2_000, max: 2_000 }),
    }),
    { maxLength: 60 },
  )
  .map((list) => list.map((one, id): Event => ({ ...one, id })))
const spans = fc.integer({ min: 0, max: 1_000 })
const keyed = (input: Stream<Event>, outOfOrder: number): KeyedStream<Event, 'timed'> =>
  input.time((e) => e.at, { outOfOrder, maxAhead: false }).keyBy((e) => e.key)
/** Two sources that are read by turns as the events come; both end. */
const fed = (list: readonly Event[]): Fed[] => [
  ...list.map((value) => ({ source: value.side, value })),
  { source: 0, value: undefined, end: true },
  { source: 1, value: undefined, end: true },
]

describe('stream–stream joins', () => {
  it('give all pairs that are near enough, and tell who found none', () => {
    fc.assert(
      fc.property(
        events,
        spans,
        spans,
        spans,
        fc.constantFrom('inner' as const, 'left' as const, 'outer' as const),
        fc.integer({ min: 0, max: 15 }),
        (list, before, after, outOfOrder, kind, saveEvery) => {
          // the plain model: of those that were not late, every pair
          const clocks = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
          const admitted: Event[] = []
          let late = 0
          for (const event of list) {
            if (event.at < Math.min(...clocks)) late += 1
            else admitted.push(event)
            clocks[event.side] = Math.max(clocks[event.side]!, event.at - outOfOrder)
          }
          const expected: string[] = []
          const met = new Set<number>()
          for (const left of admitted.filter(({ side }) => side === 0)) {
            for (const right of admitted.filter(({ side }) => side === 1)) {
              if (left.key !== right.key || right.at < left.at - before || right.at > left.at + after) continue
              expected.push(`${left.id} ${right.id}`)
              met.add(left.id).add(right.id)
            }
          }
          for (const { side, id } of admitted) {
            if (met.has(id) || kind === 'inner' || (side === 1 && kind === 'left')) continue
            expected.push(side === 0 ? `${id} undefined` : `undefined ${id}`)
          }
          const ran = runProgram(
            (left, right) =>
              keyed(left, outOfOrder)
                .join(
                  keyed(right, outOfOrder),
                  { within: { before, after }, kind: kind as 'outer' },
                  (l, r) => `${l?.id} ${r?.id}`,
                )
                .to(collected('pairs')),
            fed(list),
            { sources: 2, saveEvery },
          )
          expect([...ran.effects].sort()).toEqual(expected.sort())
          expect([ran.late, ran.open, ran.keys]).toEqual([late, 0, 0])
        },
      ),
      { numRuns: 300 },
    )
  })

  it('go on into windows: what a join gives has the later of both times', () => {
    const list: Event[] = [
      { side: 0, key: 'a', at: 900, id: 1 },
      { side: 1, key: 'a', at: 1_100, id: 2 },
      { side: 1, key: 'a', at: 950, id: 3 },
    ]
    const { rows } = runProgram(
      (left, right) =>
        keyed(left, 500)
          .join(keyed(right, 500), { within: 300 }, (l) => l)
          .keyBy((l) => l.key)
          .window(tumbling(1_000))
          .aggregate({ n: count() })
          .to(view('v', { key: 'key' }) as never),
      fed(list),
      { sources: 2 },
    )
    expect(rows.map(({ value }) => value)).toEqual([
      { start: '1970-01-01T00:00:00Z', n: 1 },
      { start: '1970-01-01T00:00:01Z', n: 1 },
    ])
  })
})

describe('tables', () => {
  it('tell of a value what was valid at its time, if they keep a history that long', () => {
    fc.assert(
      fc.property(
        events,
        fc.constantFrom(0, 1_000_000),
        fc.integer({ min: 0, max: 10 }),
        (list, history, saveEvery) => {
          const expected: string[] = []
          const known: Event[] = []
          for (const event of list) {
            if (event.side === 1) {
              // what was said last of a moment is what counts
              const same = known.findIndex(({ key, at }) => key === event.key && at === event.at)
              if (same >= 0) known.splice(same, 1)
              known.push(event)
              continue
            }
            const mine = known.filter(({ key }) => key === event.key)
            const found =
              history === 0
                ? mine.at(-1)
                : mine
                    .filter(({ at }) => at <= event.at)
                    .sort((a, b) => a.at - b.at)
                    .at(-1)
            expected.push(`${event.id} ${found?.id}`)
          }
          const ran = runProgram(
            (left, right) =>
              keyed(left, 0)
                .lookup(keyed(right, 0).table({ history }), (l, r) => `${l.id} ${r?.id}`)
                .to(collected('found')),
            fed(list),
            { sources: 2, saveEvery },
          )
          expect(ran.effects).toEqual(expected)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('are waited for with a grace, and then complete', () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 0, max: 10 }), (list, saveEvery) => {
        const right = list.filter(({ side }) => side === 1)
        const expected = list
          .filter(({ side }) => side === 0)
          .map((left) => {
            const valid = right.filter(({ key, at }) => key === left.key && at <= left.at)
            return `${left.id} ${valid.sort((a, b) => a.at - b.at || a.id - b.id).at(-1)?.id}`
          })
        const ran = runProgram(
          (left, other) =>
            keyed(left, 5_000)
              .lookup(keyed(other, 5_000).table({ history: 1_000_000 }), (l, r) => `${l.id} ${r?.id}`, { grace: 0 })
              .to(collected('found')),
          fed(list),
          { sources: 2, saveEvery },
        )
        expect([...ran.effects].sort()).toEqual(expected.sort())
        expect(ran.open).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  it('join each other: a row whenever either changes and both have the key', () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 0, max: 10 }), (list, saveEvery) => {
        const latest: [Map<string, number>, Map<string, number>] = [new Map(), new Map()]
        const expected: string[] = []
        for (const { side, key, id } of list) {
          latest[side].set(key, id)
          const [left, right] = [latest[0].get(key), latest[1].get(key)]
          if (left !== undefined && right !== undefined) expected.push(`${key} ${left} ${right}`)
        }
        const ran = runProgram(
          (left, right) =>
            keyed(left, 0)
              .table()
              .join(keyed(right, 0).table(), (l, r) => ({ both: `${l.id} ${r.id}` }))
              .to(view('v', { key: 'key' }) as never),
          fed(list),
          { sources: 2, saveEvery },
        )
        expect(ran.rows.map(({ key, value }) => `${key} ${value.both}`)).toEqual(expected)
      }),
    )
  })
})

describe('clocks', () => {
  it('of several sources: the slowest holds the watermark, until it is idle', () => {
    const at = (source: number, time: number, storedMs: number): Fed => ({
      source,
      value: { key: 'a', at: time },
      storedMs,
    })
    const program = (left: Stream<Event>, right: Stream<Event>) =>
      left
        .time((e) => e.at, { maxAhead: false, idle: '1s' })
        .merge(right.time((e) => e.at, { maxAhead: false, idle: '1s' }))
        .keyBy((e) => e.key)
        .window(tumbling(100))
        .aggregate({ n: count() })
        .to(view('v', { key: 'key' }) as never)
    const closed = (list: Fed[]) => runProgram(program, list, { sources: 2 }).rows.length
    expect(closed([at(0, 50, 0), at(0, 500, 10)])).toBe(0) // the other one may still come
    expect(closed([at(0, 50, 0), at(0, 500, 10), at(1, 120, 20)])).toBe(1)
    expect(closed([at(0, 50, 0), at(0, 500, 10), at(0, 510, 2_000)])).toBe(1) // it has not been heard of for too long
  })

  it('refuse a time far in the future, and go on as before', () => {
    const list = [0, 1_000, 253_402_300_799_000, 2_000].map((time) => ({ value: { key: 'a', at: time }, storedMs: 1 }))
    const ran = runProgram(
      (input: Stream<Event>) =>
        input
          .time((e) => e.at)
          .keyBy((e) => e.key)
          .window(tumbling('1s'))
          .aggregate({ n: count() })
          .to(view('v', { key: 'key' }) as never),
      list,
    )
    expect(ran.rejected).toEqual([expect.objectContaining({ code: 'INVALID_INPUT' })])
    expect(ran.rows.length).toBe(2)
    expect(ran.late).toBe(0)
  })
})
