import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runProgram } from '../../../test/support/program.ts'
import type { Sink, Stream } from '../program/index.ts'
import { view } from '../view.ts'
import { counted, hopping, session, sliding, tumbling, type WindowShape } from '../windows/index.ts'
import {
  type AnyAggregate,
  collect,
  count,
  distinct,
  distinctExact,
  first,
  last,
  max,
  mean,
  min,
  mostFrequent,
  quantile,
  quantileSketch,
  quantiles,
  reduce,
  share,
  stddev,
  sum,
  top,
  variance,
} from './index.ts'

interface Event {
  id: number
  number: number
  word: string | number
  at: number
}

/** An aggregate beside what it should give, told in the plainest way. */
interface Case {
  aggregate: AnyAggregate<Event>
  plain: (events: readonly Event[]) => unknown
  /** Whatever order the events come in. */
  anyOrder: boolean
  /** The result's distance from the plain one that rounding may make, relative to the numbers' size squared. */
  near?: true
}

const numbers = (events: readonly Event[]) => events.map((e) => e.number)
const total = (events: readonly Event[]) => numbers(events).reduce((a, b) => a + b, 0)
const ordered = (events: readonly Event[]) => numbers(events).sort((a, b) => a - b)
const inTime = (events: readonly Event[]) => [...events].sort((a, b) => a.at - b.at)
const average = (events: readonly Event[]) => total(events) / events.length
const squares = (events: readonly Event[]) =>
  numbers(events).reduce((sum, number) => sum + (number - average(events)) ** 2, 0)
const plainQuantile = (events: readonly Event[], q: number) => {
  const all = ordered(events)
  const rank = q * (all.length - 1)
  const [low, high] = [all[Math.floor(rank)]!, all[Math.ceil(rank)]!]
  return low * (1 - (rank % 1)) + high * (rank % 1)
}
const frequencies = (events: readonly Event[]) => {
  const counts = new Map<string | number, number>()
  for (const { word } of events) counts.set(word, (counts.get(word) ?? 0) + 1)
  const rank = (a: string | number, b: string | number) =>
    String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : typeof a < typeof b ? -1 : 1
  return [...counts].sort(([a, m], [b, n]) => n - m || rank(a, b)).map(([value, count]) => ({ value, count, error: 0 }))
}
const different = (events: readonly Event[]) => new Set(events.map((e) => e.word)).size

const cases: Record<string, Case> = {
  count: { aggregate: count(), plain: (events) => events.length, anyOrder: true },
  sum: { aggregate: sum((e: Event) => e.number), plain: total, anyOrder: true },
  mean: { aggregate: mean((e: Event) => e.number), plain: average, anyOrder: true },
  share: {
    aggregate: share((e: Event) => e.number > 0),
    plain: (events) => events.filter((e) => e.number > 0).length / events.length,
    anyOrder: true,
  },
  min: { aggregate: min((e: Event) => e.number), plain: (events) => ordered(events)[0], anyOrder: true },
  max: { aggregate: max((e: Event) => e.number), plain: (events) => ordered(events).at(-1), anyOrder: true },
  variance: {
    aggregate: variance((e: Event) => e.number),
    plain: (events) => squares(events) / (events.length - 1),
    anyOrder: true,
    near: true,
  },
  'variance of a population': {
    aggregate: variance((e: Event) => e.number, { kind: 'population' }),
    plain: (events) => squares(events) / events.length,
    anyOrder: true,
    near: true,
  },
  stddev: {
    aggregate: stddev((e: Event) => e.number),
    plain: (events) => Math.sqrt(squares(events) / (events.length - 1)),
    anyOrder: true,
    near: true,
  },
  first: { aggregate: first((e: Event) => e.id), plain: (events) => inTime(events)[0]!.id, anyOrder: false },
  last: { aggregate: last((e: Event) => e.id), plain: (events) => inTime(events).at(-1)!.id, anyOrder: false },
  top: {
    aggregate: top(3, (e: Event) => e.number),
    plain: (events) => ordered(events).reverse().slice(0, 3),
    anyOrder: true,
  },
  'top rows': {
    aggregate: top(3, (e: Event) => ({ id: e.id }), { by: (e) => e.number }),
    plain: (events) =>
      [...events]
        .sort((a, b) => b.number - a.number)
        .slice(0, 3)
        .map(({ id }) => ({ id })),
    anyOrder: false,
  },
  collect: {
    aggregate: collect((e: Event) => e.id, { max: 5 }),
    plain: (events) => ({
      values: inTime(events)
        .slice(0, 5)
        .map((e) => e.id),
      truncated: events.length > 5,
    }),
    anyOrder: false,
  },
  distinctExact: { aggregate: distinctExact((e: Event) => e.word), plain: different, anyOrder: true },
  distinct: { aggregate: distinct((e: Event) => e.word), plain: different, anyOrder: true },
  'mostFrequent with enough counters': {
    aggregate: mostFrequent(3, (e: Event) => e.word),
    plain: (events) => frequencies(events).slice(0, 3),
    anyOrder: true,
  },
  quantile: {
    aggregate: quantile(0.3, (e: Event) => e.number),
    plain: (events) => plainQuantile(events, 0.3),
    anyOrder: true,
    near: true,
  },
  quantiles: {
    aggregate: quantiles([0, 1], (e: Event) => e.number),
    plain: (events) => [ordered(events)[0], ordered(events).at(-1)],
    anyOrder: true,
  },
  reduce: {
    aggregate: reduce(
      () => '',
      (text, e: Event) => `${text}${e.id},`,
      { merge: (a, b) => a + b },
    ),
    plain: (events) => events.map((e) => `${e.id},`).join(''),
    anyOrder: false,
  },
}

const events = fc
  .array(
    fc.record({
      number: fc.integer({ min: -50, max: 50 }),
      word: fc.oneof(fc.constantFrom('', '1', 'true', 'längere Wörter'), fc.integer({ min: 0, max: 5 })),
      at: fc.integer({ min: 0, max: 20 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((list) => list.map((one, id): Event => ({ ...one, id })))

function addAll(aggregate: AnyAggregate<Event>, list: readonly Event[], state: unknown = aggregate.init()): unknown {
  return list.reduce((now, event) => aggregate.add(now, event, event.at), state)
}
/** What a checkpoint makes of a state. */
function reborn(aggregate: AnyAggregate<Event>, state: unknown): unknown {
  const saved = JSON.parse(JSON.stringify(aggregate.save ? aggregate.save(state) : state))
  return aggregate.load ? aggregate.load(saved) : saved
}
const expectSame = (result: unknown, expected: unknown, near = false) => {
  // -0 and 0 are the same number, and the same JSON
  if (!near) expect(JSON.stringify(result)).toBe(JSON.stringify(expected))
  else if (Number.isNaN(expected)) expect(result).toBeNaN()
  else expect(result).toBeCloseTo(expected as number, 8)
}

describe.each(Object.entries(cases))('%s', (_, { aggregate, plain, anyOrder, near }) => {
  it('gives what the plain way gives', () => {
    fc.assert(
      fc.property(events, (list) => {
        expectSame(aggregate.result(addAll(aggregate, list)), plain(list), near)
      }),
    )
  })

  it('gives the same from parts that are merged, however long, and from parts of one event', () => {
    fc.assert(
      fc.property(events, fc.nat(40), (list, at) => {
        const [a, b] = [list.slice(0, at), list.slice(at)]
        const merged = aggregate.merge!(addAll(aggregate, a), addAll(aggregate, b))
        expectSame(aggregate.result(merged), plain(list), near)
        const parts = list.map((event) => addAll(aggregate, [event]))
        const grown = parts.reduce((whole, part) => aggregate.merge!(whole, part))
        expectSame(aggregate.result(grown), plain(list), near)
        const more = [...list, { ...list[0]!, id: -1 }]
        expectSame(aggregate.result(addAll(aggregate, more.slice(-1), grown)), plain(more), near)
      }),
    )
  })

  it('goes on from a checkpoint as if nothing had happened', () => {
    fc.assert(
      fc.property(events, fc.nat(40), (list, at) => {
        const half = addAll(aggregate, list.slice(0, at))
        const whole = addAll(aggregate, list.slice(at), reborn(aggregate, half))
        expect(aggregate.result(whole)).toEqual(aggregate.result(addAll(aggregate, list)))
        expectSame(aggregate.result(reborn(aggregate, whole)), plain(list), near)
      }),
    )
  })

  it('hands out nothing that goes on changing', () => {
    fc.assert(
      fc.property(events, (list) => {
        const state = addAll(aggregate, list)
        const result = aggregate.result(state)
        const before = JSON.stringify(result)
        addAll(aggregate, [...list].reverse(), state)
        expect(JSON.stringify(result)).toBe(before)
      }),
    )
  })

  if (!anyOrder) return

  it('does not depend on the order of events', () => {
    const shuffled = events.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    )
    fc.assert(
      fc.property(shuffled, ([list, other]) => {
        expectSame(aggregate.result(addAll(aggregate, other)), plain(list), near)
      }),
    )
  })
})

describe('aggregates', () => {
  // biome-ignore lint/suspicious/noExplicitAny: values that the types do not allow are the point
  type Bad = any
  const of = (e: Event) => e.number
  const ofNumbers: Record<string, AnyAggregate<Event>> = {
    sum: sum(of),
    mean: mean(of),
    min: min(of),
    max: max(of),
    variance: variance(of),
    stddev: stddev(of),
    top: top(2, of),
    quantile: quantile(0.5, of),
    quantiles: quantiles([0.5], of),
    quantileSketch: quantileSketch(0.5, of),
  }
  const ofScalars: Record<string, AnyAggregate<Event>> = {
    distinct: distinct((e) => e.word),
    distinctExact: distinctExact((e) => e.word),
    mostFrequent: mostFrequent(2, (e: Event) => e.word),
  }
  const ofValues: Record<string, AnyAggregate<Event>> = {
    first: first((e: Event) => e.id),
    last: last((e: Event) => e.id),
    collect: collect((e: Event) => e.id),
    top: top(2, (e: Event) => e.id, { by: of }),
  }
  const good: Event = { id: 1, number: 1, word: 'a', at: 1 }

  function expectRefused(aggregates: Record<string, AnyAggregate<Event>>, bad: Bad): void {
    for (const [name, aggregate] of Object.entries(aggregates)) {
      const state = addAll(aggregate, [good])
      const before = JSON.stringify(reborn(aggregate, state))
      const refusal = expect.objectContaining({
        code: 'INVALID_INPUT',
        message: expect.stringContaining(`${name}: expected`),
      })
      expect(() => aggregate.add(state, bad, 0)).toThrow(refusal)
      expect(() => aggregate.check!(bad)).toThrow(refusal)
      expect(JSON.stringify(reborn(aggregate, state))).toBe(before)
    }
  }

  it('refuse what is no finite number, and are as they were', () => {
    for (const number of [Number.NaN, Number.POSITIVE_INFINITY, undefined, null, '5', true, 5n, new Date(0), {}]) {
      expectRefused(ofNumbers, { ...good, number })
    }
  })

  it('refuse what is no text, finite number or boolean where it is about values being the same', () => {
    for (const word of [Number.NaN, Number.NEGATIVE_INFINITY, undefined, null, 5n, new Date(0), [], Symbol('s')]) {
      expectRefused(ofScalars, { ...good, word })
    }
  })

  it('refuse to keep what JSON has no word for', () => {
    for (const id of [undefined, Number.NaN, Number.NEGATIVE_INFINITY, 5n, Symbol('s'), () => 1]) {
      expectRefused(ofValues, { ...good, id: id as Bad })
    }
  })

  it('take -0 for 0', () => {
    for (const [name, aggregate] of Object.entries(ofNumbers)) {
      const results = [0, -0].map((number) =>
        JSON.stringify(
          aggregate.result(
            addAll(aggregate, [
              { ...good, number },
              { ...good, number: -number },
            ]) as Bad,
          ),
        ),
      )
      expect(results[0], name).toBe(results[1])
    }
  })

  it('check a value that they can take without complaint', () => {
    for (const aggregate of Object.values({ ...ofNumbers, ...ofScalars, ...ofValues })) aggregate.check!(good)
  })

  it('say where the value came from', () => {
    const total = sum((e: Event) => e.number)
    expect(() => total.add(0, { ...good, number: '5' as Bad }, 0)).toThrow(
      'sum: expected a finite number, got "5" from (e) => e.number',
    )
  })

  it('refuse a number that would take them out of the range of doubles, and are as they were', () => {
    const huge = { ...good, number: Number.MAX_VALUE }
    for (const name of ['sum', 'mean', 'variance', 'stddev']) {
      const aggregate = ofNumbers[name]!
      const state = addAll(aggregate, [huge])
      const before = JSON.stringify(state)
      const added = { ...good, number: name === 'sum' || name === 'mean' ? Number.MAX_VALUE : -Number.MAX_VALUE }
      expect(() => aggregate.add(state, added, 0)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
      expect(JSON.stringify(state)).toBe(before)
      const merged = aggregate.merge!(state, addAll(aggregate, [added]))
      expect(JSON.stringify(merged)).not.toContain('null')
    }
  })

  it('keep a small spread at a large mean', () => {
    const list = [4, 7, 13, 16].map((number) => ({ ...good, number: number + 1e9 }))
    const spread = variance(of)
    expect(spread.result(addAll(spread, list) as Bad)).toBe(30)
    const merged = spread.merge!(addAll(spread, list.slice(0, 1)) as Bad, addAll(spread, list.slice(1)) as Bad)
    expect(spread.result(merged)).toBeCloseTo(30, 5)
  })

  it('refuse options that make no sense', () => {
    const invalid = expect.objectContaining({ code: 'INVALID_OPTION' })
    expect(() => quantile(1.1, of)).toThrow(invalid)
    expect(() => quantile(Number.NaN, of)).toThrow(invalid)
    expect(() => quantiles([0.5, -1], of)).toThrow(invalid)
    expect(() => quantileSketch(0.5, of, { relativeError: 0 })).toThrow(invalid)
    expect(() => quantileSketch(0.5, of, { maxBins: 1 })).toThrow(invalid)
    expect(() => variance(of, { kind: 'both' as Bad })).toThrow(invalid)
    expect(() => top(0, of)).toThrow(invalid)
    expect(() => collect((e: Event) => e.id, { max: 0.5 })).toThrow(invalid)
    expect(() => distinct((e: Event) => e.word, { precision: 3 })).toThrow(invalid)
    expect(() => mostFrequent(5, (e: Event) => e.word, { counters: 4 })).toThrow(invalid)
  })

  it('without merge are refused in session windows', () => {
    const text = reduce(
      () => '',
      (all, e: Event) => all + e.word,
    )
    expect(() => runProgram(program(session(5), { text }), [])).toThrow('aggregate "text" cannot be merged')
  })

  const program =
    (shape: WindowShape, aggregates: Record<string, AnyAggregate<Event>>) =>
    (input: Stream<Event>): Sink =>
      input
        .time((e) => e.at, { outOfOrder: 5, maxAhead: false })
        .keyBy((e) => `${e.id % 2}`)
        .window(shape)
        .aggregate(aggregates)
        .to(view('out', { key: 'key' }) as never)

  it('give the same in every kind of window, whether there were checkpoints or not', () => {
    const shapes = [tumbling(5), hopping(6, { every: 2 }), session(2), sliding(4), counted(4)]
    const aggregates = {
      ...Object.fromEntries(Object.entries(cases).map(([name, { aggregate }]) => [name, aggregate])),
      sketch: quantileSketch(0.5, of),
      estimate: distinct((e: Event) => e.word, { exactUpTo: 2 }),
      counters: mostFrequent(2, (e: Event) => e.word, { counters: 3 }),
    }
    fc.assert(
      fc.property(events, fc.constantFrom(...shapes), fc.integer({ min: 1, max: 10 }), (list, shape, saveEvery) => {
        const fed = [...list.map((value) => ({ value })), { value: undefined, end: true }]
        const run = runProgram(program(shape, aggregates), fed)
        expect(run.rejected).toEqual([])
        const saved = runProgram(program(shape, aggregates), fed, { saveEvery })
        expect(JSON.stringify(saved.rows)).toBe(JSON.stringify(run.rows))
      }),
    )
  })
})
