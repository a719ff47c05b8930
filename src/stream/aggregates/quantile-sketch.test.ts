import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { quantileSketch, quantiles } from './index.ts'

const number = (value: number) => value
const doubles = fc.double({ noNaN: true, noDefaultInfinity: true })
/** All kinds of data: any double, many orders of magnitude, usual ones, many of the same. */
const data = fc.oneof(
  fc.array(doubles, { minLength: 1, maxLength: 200 }),
  fc.array(
    fc
      .tuple(fc.integer({ min: -300, max: 300 }), fc.double({ min: -10, max: 10, noNaN: true }))
      .map(([power, digits]) => digits * 10 ** power),
    { minLength: 1, maxLength: 200 },
  ),
  fc.array(fc.double({ min: 0.001, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
  fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 200 }),
)
const shares = fc.double({ min: 0, max: 1, noNaN: true })
const rounding = 1 + 1e-9
/** Smaller ones count as zero. */
const least = 2.3e-308

function sketchOf(values: readonly number[], q: number, options = {}) {
  const sketch = quantileSketch(q, number, options)
  return { sketch, state: values.reduce((state, value) => sketch.add(state, value, 0), sketch.init()) }
}
const lowerQuantile = (values: readonly number[], q: number) =>
  [...values].sort((a, b) => a - b)[Math.floor(q * (values.length - 1))]!

describe('quantileSketch', () => {
  it('is as near to the true value as it says, for any doubles', () => {
    fc.assert(
      fc.property(data, shares, fc.constantFrom(0.001, 0.01, 0.05, 0.3), (values, q, relativeError) => {
        const { sketch, state } = sketchOf(values, q, { relativeError })
        const exact = lowerQuantile(values, q)
        const error = Math.abs(sketch.result(state) - exact)
        expect(error).toBeLessThanOrEqual(Math.max(Math.abs(exact) * relativeError * rounding, least))
      }),
      { numRuns: 500 },
    )
  })

  it('is the same state whatever the order of values and merges, even when bins had to become one', () => {
    const parts = fc.array(data, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(parts, fc.constantFrom(2, 5, 40, 2_048), (lists, maxBins) => {
        const all = lists.flat()
        const { sketch, state } = sketchOf(all, 0.5, { maxBins })
        const merged = lists.map((list) => sketchOf(list, 0.5, { maxBins }).state).reduce((a, b) => sketch.merge!(b, a))
        const backwards = sketchOf([...all].reverse(), 0.5, { maxBins }).state
        expect(sketch.save!(merged)).toEqual(sketch.save!(state))
        expect(sketch.save!(backwards)).toEqual(sketch.save!(state))
      }),
    )
  })

  it('goes on from a checkpoint as if nothing had happened, even when bins had to become one', () => {
    fc.assert(
      fc.property(data, data, fc.constantFrom(2, 5, 40, 2_048), (some, more, maxBins) => {
        const { sketch, state } = sketchOf(some, 0.5, { maxBins })
        const loaded = sketch.load!(JSON.parse(JSON.stringify(sketch.save!(state))))
        const both = more.reduce((now, value) => sketch.add(now, value, 0), loaded)
        const { state: straight } = sketchOf([...some, ...more], 0.5, { maxBins })
        expect(sketch.save!(both)).toEqual(sketch.save!(straight))
        expect(sketch.result(both)).toBe(sketch.result(straight))
      }),
    )
  })

  it('keeps its promise for all but what is nearest to zero when there are too many bins', () => {
    const positive = fc.array(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(positive, shares, fc.integer({ min: 2, max: 50 }), (values, q, maxBins) => {
        const { sketch, state } = sketchOf(values, q, { maxBins })
        const exact = lowerQuantile(values, q)
        const reported = sketch.result(state)
        const border = sketchOf(values, 0, { maxBins })
        const floor = border.sketch.result(border.state)
        if (exact > floor * 1.02) expect(Math.abs(reported - exact)).toBeLessThanOrEqual(exact * 0.01 * rounding)
        else expect(reported).toBeLessThanOrEqual(floor * 1.03)
        expect((sketch.save!(state) as number[][])[2]!.length).toBeLessThanOrEqual(2 * maxBins)
      }),
    )
  })

  it('tells several quantiles from one state, as it tells each of them', () => {
    fc.assert(
      fc.property(data, fc.array(shares, { maxLength: 5 }), (values, qs) => {
        const several = quantiles(qs, number, { relativeError: 0.02 })
        const reported = several.result(values.reduce((state, value) => several.add(state, value, 0), several.init()))
        const each = qs.map((q) => {
          const { sketch, state } = sketchOf(values, q, { relativeError: 0.02 })
          return sketch.result(state)
        })
        expect(reported).toEqual(each)
      }),
    )
  })

  it('refuses a checkpoint of another error, whose bins mean other values', () => {
    const { sketch, state } = sketchOf([1, 2, 3], 0.5)
    const other = quantileSketch(0.5, number, { relativeError: 0.02 })
    expect(() => other.load!(sketch.save!(state))).toThrow(expect.objectContaining({ code: 'STREAM_MISMATCH' }))
  })
})
