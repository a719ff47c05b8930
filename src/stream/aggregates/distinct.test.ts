import { describe, expect, it } from 'vitest'
import { distinct } from './index.ts'
import type { Scalar } from './values.ts'

/** Values of all kinds that streams are full of; the same for the same seed. */
const kinds: Record<string, (i: number, seed: number) => Scalar> = {
  'whole numbers in a row': (i, seed) => seed * 1e7 + i,
  fractions: (i, seed) => (seed + 1) / (i + 1) + i,
  'numbers in texts': (i, seed) => `${seed * 1e7 + i}`,
  'paths that differ in the middle': (i, seed) => `/customers/${seed}/orders/${i}/lines`,
  'long texts that differ at the end': (i, seed) => `${'x'.repeat(40)}${seed}-${i}`,
  'other alphabets': (i, seed) => `${String.fromCodePoint(0x4e00 + (i % 20_000))}${Math.floor(i / 20_000)}-${seed}`,
}
const sizes = [300, 1_000, 3_000, 10_000, 50_000]

function estimateOf(kind: (i: number, seed: number) => Scalar, size: number, seed: number, precision: number): number {
  const values = distinct((i: number) => kind(i, seed), { precision, exactUpTo: 0 })
  let state = values.init()
  for (let i = 0; i < size; i++) state = values.add(state, i, 0)
  return values.result(state)
}

describe('distinct', () => {
  it.each(Object.entries(kinds))('of %s is within four standard errors of the truth', (_, kind) => {
    for (const precision of [8, 12]) {
      const standardError = 1.04 / Math.sqrt(2 ** precision)
      let squared = 0
      let runs = 0
      for (const size of sizes) {
        for (let seed = 0; seed < 6; seed++) {
          const error = estimateOf(kind, size, seed, precision) / size - 1
          expect(Math.abs(error)).toBeLessThan(4 * standardError)
          squared += error ** 2
          runs += 1
        }
      }
      // and the standard error is what it is said to be
      expect(Math.sqrt(squared / runs)).toBeLessThan(1.5 * standardError)
    }
  })

  it('is exact up to where it is said to be, and near to it right after', () => {
    const values = distinct((i: number) => i % 1_000, { exactUpTo: 500 })
    let state = values.init()
    for (let i = 0; i < 500; i++) {
      state = values.add(state, i, 0)
      state = values.add(state, i - (i % 2), 0)
      expect(values.result(state)).toBe(i + 1)
    }
    state = values.add(state, 500, 0)
    expect(state).toBeInstanceOf(Uint8Array)
    expect(Math.abs(values.result(state) - 501)).toBeLessThan(501 * 0.016 * 4)
  })

  it('tells values apart that only look the same, and not those that are the same', () => {
    for (const exactUpTo of [256, 0]) {
      const values = distinct((value: Scalar) => value, { exactUpTo })
      const of = (...list: Scalar[]) =>
        values.result(
          list.reduce((state: Set<Scalar> | Uint8Array, value) => values.add(state, value, 0), values.init()),
        )
      expect(of(1, '1', true, 'true', 0, false, '')).toBe(7)
      expect(of(0, -0)).toBe(1)
      expect(of('ab', 'ba', 'a', 'b', 'a\0')).toBe(5)
    }
  })

  it('keeps the same of parts as of the whole, exact or not, and from checkpoints', () => {
    const values = distinct((i: number) => `user ${i}`)
    type State = ReturnType<typeof values.init>
    const range = (from: number, to: number) => {
      let state: State = values.init()
      for (let i = from; i < to; i++) state = values.add(state, i, 0)
      return state
    }
    const reborn = (state: State) => values.load!(JSON.parse(JSON.stringify(values.save!(state))))
    const kept = (state: State) => (state instanceof Set ? [...state].sort() : values.save!(state))
    for (const [a, b, c] of [
      [0, 0, 200],
      [0, 100, 200],
      [0, 200, 400],
      [0, 10, 1_000],
      [0, 990, 1_000],
      [0, 1_000, 2_000],
    ] as const) {
      // with an overlap
      const merged = values.merge!(range(a, b), reborn(range(Math.max(b - 50, 0), c)))
      expect(kept(merged)).toEqual(kept(range(a, c)))
    }
  })

  it('refuses a checkpoint of another precision', () => {
    const wide = distinct((i: number) => i, { precision: 14, exactUpTo: 0 })
    const narrow = distinct((i: number) => i, { precision: 12, exactUpTo: 0 })
    expect(() => narrow.load!(wide.save!(wide.add(wide.init(), 1, 0)))).toThrow(
      expect.objectContaining({ code: 'STREAM_MISMATCH' }),
    )
  })
})
