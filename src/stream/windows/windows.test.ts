import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Fed, runProgram } from '../../../test/support/program.ts'
import { type Aggregate, collect, count, sum } from '../aggregates/index.ts'
import type { Sink, Stream } from '../program/index.ts'
import { view } from '../view.ts'
import { calendar, counted, hopping, session, sliding, tumbling, type WindowShape } from './index.ts'

interface Event {
  key: string
  at: number
  value: number
}

const out = view('out', { key: 'key' })
const forever = 1_000_000

type Options = {
  outOfOrder?: number
  lateness?: number
  emit?: 'closed' | 'update' | { early: number }
  late?: boolean
}

const program =
  (shape: WindowShape, { outOfOrder = 0, lateness = 0, emit = 'closed', late = false }: Options) =>
  (input: Stream<Event>): Sink =>
    input
      .time((e) => e.at, { outOfOrder, maxAhead: false })
      .keyBy((e) => e.key)
      .window(shape, {
        lateness,
        emit: emit as 'update',
        ...(late ? { late: (late) => late.to({ name: 'late', open: () => async () => undefined }) } : {}),
      })
      .aggregate({ n: count(), total: sum((e) => e.value) })
      .to(out as never)

const fed = (list: readonly Event[], end = true): Fed[] => [
  ...list.map((value) => ({ value })),
  ...(end ? [{ value: undefined, end: true }] : []),
]

const reported = (rows: ReturnType<typeof runProgram>['rows']) =>
  rows.map(
    ({ key, value }) => [key, Date.parse(value.start as string), value.n as number, value.total as number] as const,
  )
/** The last row of each key and window. */
const last = (rows: ReturnType<typeof runProgram>['rows']) =>
  new Map(reported(rows).map(([key, start, n, total]) => [`${key} ${start}`, [n, total]]))

const events = fc.array(
  fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    at: fc.integer({ min: -5_000, max: 5_000 }),
    value: fc.integer({ min: -100, max: 100 }),
  }),
  { maxLength: 120 },
)
const sizes = fc.integer({ min: 1, max: 1_000 })
const spans = fc.integer({ min: 0, max: 2_000 })
const shapes: fc.Arbitrary<WindowShape> = fc.oneof(
  sizes.map((size) => tumbling(size)),
  fc
    .tuple(sizes, sizes)
    .map(([a, b]) => hopping(Math.max(a, b), { every: Math.max(Math.min(a, b), Math.ceil(Math.max(a, b) / 10)) })),
  sizes.map((gap) => session(gap)),
  sizes.map((size) => sliding(size)),
  fc.integer({ min: 1, max: 10 }).map((n) => counted(n)),
)
const emissions = fc.oneof(
  fc.constant('closed' as const),
  fc.constant('update' as const),
  sizes.map((early) => ({ early })),
)

/** Adds to what is known of a key and window. */
function group(groups: Map<string, [number, number]>, name: string, value: number): void {
  const [n, total] = groups.get(name) ?? [0, 0]
  groups.set(name, [n + 1, total + value])
}

describe('windows', () => {
  it('aligned ones give in the end what grouping gives, for every event that was not too late', () => {
    const aligned = shapes.filter(({ kind }) => kind === 'aligned')
    fc.assert(
      fc.property(events, aligned, spans, spans, emissions, (list, shape, outOfOrder, lateness, emit) => {
        if (shape.kind !== 'aligned') return
        // the plain model: keep what comes before its window is closed for good, then group
        let watermark = Number.NEGATIVE_INFINITY
        let late = 0
        const expected = new Map<string, [number, number]>()
        for (const { key, at, value } of list) {
          let taken = false
          for (let start = shape.startOf(at); shape.endOf(start) > at; start = shape.before(start)) {
            if (shape.endOf(start) + lateness <= watermark) continue
            group(expected, `${key} ${start}`, value)
            taken = true
          }
          if (!taken) late += 1
          watermark = Math.max(watermark, at - outOfOrder)
        }
        const ran = runProgram(program(shape, { outOfOrder, lateness, emit, late: true }), fed(list))
        expect(last(ran.rows)).toEqual(expected)
        expect(ran.late).toBe(late)
        expect(ran.effects.length).toBe(late) // each of them went to the side
        expect([ran.open, ran.keys]).toEqual([0, 0])
      }),
    )
  })

  it('sessions give in the end what cutting at the gaps gives', () => {
    fc.assert(
      fc.property(events, sizes, (list, gap) => {
        const expected = new Map<string, [number, number]>()
        for (const key of ['a', 'b', 'c']) {
          let start = Number.NEGATIVE_INFINITY
          let before = Number.NEGATIVE_INFINITY
          for (const { at, value } of list.filter((e) => e.key === key).sort((a, b) => a.at - b.at)) {
            if (at > before + gap) start = at
            before = at
            group(expected, `${key} ${start}`, value)
          }
        }
        const ran = runProgram(program(session(gap), { outOfOrder: forever }), fed(list))
        expect(last(ran.rows)).toEqual(expected)
        expect(ran.rows.length).toBe(expected.size)
        expect([ran.open, ran.keys]).toEqual([0, 0])
      }),
    )
  })

  it('sliding ones give for each event what lies within the size before it, late or not', () => {
    fc.assert(
      fc.property(events, sizes, spans, (list, size, outOfOrder) => {
        const expected = new Map<string, [number, number]>()
        for (const { key, at } of list) {
          const name = `${key} ${at - size}`
          if (expected.has(name)) continue
          for (const other of list) {
            if (other.key === key && other.at <= at && other.at > at - size) group(expected, name, other.value)
          }
        }
        const ran = runProgram(program(sliding(size), { outOfOrder, lateness: forever }), fed(list))
        expect(last(ran.rows)).toEqual(expected)
        expect([ran.open, ran.keys]).toEqual([0, 0])
      }),
    )
  })

  it('counted ones are over after so many events of a key', () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 1, max: 10 }), (list, size) => {
        const expected: number[] = []
        const counts = new Map<string, number[]>()
        for (const { key, value } of list) {
          const values = [...(counts.get(key) ?? []), value]
          counts.set(key, values.length === size ? [] : values)
          if (values.length === size) expected.push(values.reduce((a, b) => a + b))
        }
        const { rows } = runProgram(program(counted(size), {}), fed(list))
        expect(rows.map(({ value }) => value.total)).toEqual(expected)
      }),
    )
  })

  it('of every kind go on from checkpoints as if nothing had happened', () => {
    fc.assert(
      fc.property(
        events,
        shapes,
        spans,
        spans,
        emissions,
        fc.integer({ min: 1, max: 20 }),
        (list, shape, outOfOrder, lateness, emit, saveEvery) => {
          const made = program(shape, { outOfOrder, lateness, emit, late: true })
          expect(runProgram(made, fed(list), { saveEvery })).toEqual(runProgram(made, fed(list)))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('larger than memory are as if they were not', () => {
    const many = fc.array(
      fc.record({
        key: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz', 'ä', '\u{1f6eb}', '\uffee'),
        at: fc.integer({ min: 0, max: 3_000 }),
        value: fc.integer({ min: -100, max: 100 }),
      }),
      { maxLength: 150 },
    )
    let spilled = 0
    fc.assert(
      fc.property(
        many,
        spans,
        spans,
        emissions,
        fc.integer({ min: 1, max: 10 }),
        (list, outOfOrder, lateness, emit, saveEvery) => {
          const made = program(tumbling(1_000), { outOfOrder, lateness, emit, late: true })
          const small = runProgram(made, fed(list), { saveEvery, keysInMemory: 3 })
          spilled += Number(small.rows.length > 10)
          expect(small).toEqual(runProgram(made, fed(list)))
        },
      ),
      { numRuns: 200 },
    )
    expect(spilled).toBeGreaterThan(0)
  })

  it('come out once, in the order of their ends and then of their keys, when nothing is late', () => {
    fc.assert(
      fc.property(events, sizes, (list, size) => {
        const sorted = [...list].sort((a, b) => a.at - b.at)
        const rows = reported(runProgram(program(tumbling(size), {}), fed(sorted)).rows)
        const order = rows.map(([key, start]) => [start, key] as const)
        expect(order).toEqual([...order].sort(([a, x], [b, y]) => a - b || (x < y ? -1 : x > y ? 1 : 0)))
        expect(new Set(order.map(String)).size).toBe(order.length)
      }),
    )
  })

  it('early and updated rows say that they are not final; the last one is', () => {
    const list = [0, 100, 250, 400, 1_100].map((at) => ({ key: 'a', at, value: 1 }))
    const rows = (emit: 'update' | { early: number }) =>
      runProgram(program(tumbling(1_000), { emit }), fed(list, false)).rows.map(({ value }) => [value.n, value.final])
    // the event that ends the window comes first, then the window's end
    expect(rows('update')).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, false],
      [1, false],
      [4, true],
    ])
    expect(rows({ early: 200 })).toEqual([
      [3, false],
      [4, false],
      [4, true],
    ])
  })

  it('refuse a key that cannot be part of a subject, and more keys than they may have', () => {
    const list = ['a', 'no dots. please', 'b', 'c', 'a'].map((key) => ({ key, at: 0, value: 1 }))
    for (const shape of [tumbling(10), session(10), sliding(10), counted(5)]) {
      const { rejected, keys } = runProgram(program(shape, {}), fed(list, false), { maxKeys: 2 })
      expect(rejected.map((error) => (error as { code: string }).code)).toEqual(['INVALID_INPUT', 'TOO_MANY_KEYS'])
      expect(keys).toBe(2)
    }
  })

  it('of every kind are as if a value that an aggregate refuses had never come', () => {
    const mixed = events.map((list) => list.map((e, i) => (i % 3 === 1 ? { ...e, value: Number.NaN } : e)))
    fc.assert(
      fc.property(mixed, shapes, emissions, (list, shape, emit) => {
        const made = program(shape, { outOfOrder: forever, emit })
        const good = list.filter(({ value }) => !Number.isNaN(value))
        const ran = runProgram(made, fed(list))
        expect(ran.rows).toEqual(runProgram(made, fed(good)).rows)
        expect(ran.rejected.length).toBe(list.length - good.length)
      }),
    )
  })

  it('of every kind are as if a number had never come that no sum can hold', () => {
    const values = [1, 1e308, 2, 1e308, 3, -1e308, 4]
    const list = values.map((value) => ({ key: 'a', at: 0, value }))
    for (const shape of [tumbling(10), hopping(10, { every: 10 }), counted(6)]) {
      const { rows, rejected } = runProgram(
        (input: Stream<Event>) =>
          input
            .time((e) => e.at, { maxAhead: false })
            .keyBy((e) => e.key)
            .window(shape)
            .aggregate({ n: count(), total: sum((e) => e.value), all: collect((e) => e.value) })
            .to(out as never),
        fed(list),
      )
      expect(rejected).toEqual([expect.objectContaining({ code: 'INVALID_INPUT' })])
      expect(rows.map(({ value }) => value)).toEqual([
        expect.objectContaining({ n: 6, all: { values: [1, 1e308, 2, 3, -1e308, 4], truncated: false } }),
      ])
    }
  })

  it('of which one has no result take no other with them', () => {
    const list = ['a', 'b', 'c'].map((key) => ({ key, at: 0, value: 1 }))
    const later = { key: 'a', at: 5_000, value: 1 }
    const odd: Aggregate<Event, string, string> = {
      init: () => '',
      add: (_, e) => e.key,
      result: (key) => {
        if (key === 'b') throw new Error('b has none')
        return key
      },
      merge: (a) => a,
    }
    for (const shape of [tumbling(10), session(10), sliding(10), counted(1), hopping(10, { every: 10 })]) {
      const { rows, rejected, open } = runProgram(
        (input: Stream<Event>) =>
          input
            .time((e) => e.at, { maxAhead: false })
            .keyBy((e) => e.key)
            .window(shape)
            .aggregate({ odd })
            .to(out as never),
        fed([...list, later]),
      )
      expect([rows.map(({ key }) => key).sort(), rejected.map(String), open]).toEqual([
        ['a', 'a', 'c'],
        ['Error: b has none'],
        0,
      ])
    }
  })

  it('of the calendar are as long as the day is', () => {
    const day = calendar('day', { timeZone: 'America/New_York' })
    const hours = (text: string) => {
      const start = day.startOf(Date.parse(text))
      return (day.endOf(start) - start) / 3_600_000
    }
    expect(hours('2001-04-01T12:00:00Z')).toBe(23)
    expect(hours('2001-10-28T12:00:00Z')).toBe(25)
    expect(hours('2001-07-04T12:00:00Z')).toBe(24)
    expect(new Date(day.startOf(Date.parse('2001-07-04T03:59:59Z'))).toISOString()).toBe('2001-07-03T04:00:00.000Z')
    const weeks = calendar('week', { timeZone: 'UTC' })
    expect(new Date(weeks.startOf(Date.parse('2001-01-03T00:00Z'))).toISOString()).toBe('2001-01-01T00:00:00.000Z')
    const months = calendar('month', { timeZone: 'Europe/Berlin' })
    expect(new Date(months.startOf(Date.parse('2001-02-10T00:00Z'))).toISOString()).toBe('2001-01-31T23:00:00.000Z')
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_000_000_000_000 }),
        fc.constantFrom('America/New_York', 'America/Sao_Paulo', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'UTC'),
        fc.constantFrom('day', 'week', 'month', 'year'),
        (at, timeZone, unit) => {
          const shape = calendar(unit, { timeZone })
          const start = shape.startOf(at)
          const end = shape.endOf(start)
          expect(start <= at && at < end).toBe(true)
          // windows follow each other without gap or overlap
          expect([shape.startOf(end), shape.startOf(end - 1), shape.before(end)]).toEqual([end, start, start])
        },
      ),
    )
  })

  it('refuse what is no window', () => {
    expect(() => tumbling('soon' as never)).toThrow('tumbling: "soon" is not a duration')
    const invalid = expect.objectContaining({ code: 'INVALID_OPTION' })
    expect(() => tumbling(0)).toThrow(invalid)
    expect(() => hopping('1m', { every: '2m' })).toThrow(invalid)
    expect(() => hopping('1d', { every: '1ms' })).toThrow(invalid)
    for (const size of [0.5, 1.5, '0.0005s'] as const) expect(() => session(size)).toThrow(invalid)
    expect(tumbling('1.005s').description).toBe('tumbling(1005)')
    expect(() => counted(0.5)).toThrow(invalid)
    expect(() => calendar('day', { timeZone: 'Mars/Olympus' })).toThrow(invalid)
  })
})
