import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mostFrequent } from './index.ts'

/** Some values are much more frequent than others. */
const words = fc.array(
  fc.tuple(fc.nat(40), fc.nat(40)).map(([a, b]) => Math.floor((a * b) / 40)),
  { maxLength: 300 },
)
const counters = fc.integer({ min: 1, max: 12 })

function expectBounds(
  list: readonly number[],
  reported: { value: number; count: number; error: number }[],
  kept: number,
) {
  const truth = new Map<number, number>()
  for (const value of list) truth.set(value, (truth.get(value) ?? 0) + 1)
  const bound = list.length / kept
  for (const { value, count, error } of reported) {
    const times = truth.get(value) ?? 0
    expect(count).toBeGreaterThanOrEqual(times)
    expect(count - error).toBeLessThanOrEqual(times)
    expect(error).toBeLessThanOrEqual(bound)
  }
  const values = reported.map(({ value }) => value)
  expect(new Set(values).size).toBe(values.length)
  for (const [value, times] of truth) if (times > bound) expect(values).toContain(value)
  expect(reported.map(({ count }) => count)).toEqual(reported.map(({ count }) => count).sort((a, b) => b - a))
}

describe('mostFrequent', () => {
  it('keeps its bounds, whatever comes', () => {
    fc.assert(
      fc.property(words, counters, (list, kept) => {
        const frequent = mostFrequent(kept, (value: number) => value, { counters: kept })
        const state = list.reduce((now, value) => frequent.add(now, value, 0), frequent.init())
        expectBounds(list, frequent.result(state), kept)
      }),
      { numRuns: 300 },
    )
  })

  it('keeps its bounds when parts are merged and more comes after', () => {
    fc.assert(
      fc.property(fc.array(words, { minLength: 1, maxLength: 5 }), words, counters, (lists, more, kept) => {
        const frequent = mostFrequent(kept, (value: number) => value, { counters: kept })
        const all = (list: readonly number[], from = frequent.init()) =>
          list.reduce((now, value) => frequent.add(now, value, 0), from)
        const merged = lists.map((list) => all(list)).reduce((a, b) => frequent.merge!(a, b))
        expectBounds([...lists.flat(), ...more], frequent.result(all(more, merged)), kept)
      }),
      { numRuns: 300 },
    )
  })

  it('goes on from a checkpoint as if nothing had happened, whoever loses a counter', () => {
    fc.assert(
      fc.property(words, words, counters, (some, more, kept) => {
        const frequent = mostFrequent(1, (value: number) => value, { counters: kept })
        const all = (list: readonly number[], from = frequent.init()) =>
          list.reduce((now, value) => frequent.add(now, value, 0), from)
        const half = all(some)
        const reborn = frequent.load!(JSON.parse(JSON.stringify(frequent.save!(half))))
        expect(frequent.save!(all(more, reborn))).toEqual(frequent.save!(all([...some, ...more])))
      }),
    )
  })
})
