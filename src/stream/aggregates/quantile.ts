// Quantiles from all values of a window, exact; or from a sketch of them, in bounded memory.
import type { Aggregate, AnyAggregate } from './aggregate.ts'
import { ddSketch, type SketchOptions } from './dd-sketch.ts'
import { checkQuantile, numberOf } from './values.ts'

/**
 * The exact quantile `q` (0 to 1), interpolated between neighbours: SQL's `percentile_cont`, type 7 of Hyndman and Fan.
 * Keeps every value of the window, so it is for windows of thousands of events, not millions; see `quantileSketch`.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number
 * @example
 * .aggregate({ p95: quantile(0.95, (flight) => flight.delay) })
 */
export function quantile<T>(q: number, of: (value: T) => number): Aggregate<T, number[], number> {
  checkQuantile('quantile', q)
  return { kind: 'quantile', ...keeping('quantile', of), result: (values) => quantileOf(sorted(values), q) }
}

/**
 * The quantile `q` (0 to 1) of a window of any size: no further than `relativeError` (1 % of the value unless told
 * otherwise) from the value of rank ⌊q (n − 1)⌋, for negative values, zero and any range. Bounded memory: a bin for each
 * power of (1 + e) / (1 − e) that occurs, about 350 for values from 1 to 1,000 at 1 %, 40 bytes each.
 *
 * A DDSketch: Masson, Rim and Lee, DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees
 * (VLDB 2019). Of more than `maxBins` (2,048) bins of a sign, those nearest to zero become one: quantiles that fall there
 * count as its border. At 1 % that takes 2,048 values that are each 2 % from the next, at least 17 orders of magnitude.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number
 * @example
 * .aggregate({ p99: quantileSketch(0.99, (request) => request.latencyMs, { relativeError: 0.02 }) })
 */
export function quantileSketch<T>(
  q: number,
  of: (value: T) => number,
  options: SketchOptions = {},
): AnyAggregate<T, number> {
  checkQuantile('quantileSketch', q)
  const sketch = ddSketch('quantileSketch', of, options)
  return { kind: 'quantileSketch', ...sketch, result: (state) => sketch.quantilesOf(state, [q])[0]! }
}

/**
 * Several quantiles from one state, in the order given: exact as `quantile`'s, or with `relativeError` as
 * `quantileSketch`'s. The memory is that of one.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number
 * @example
 * .aggregate({ delays: quantiles([0.5, 0.95], (flight) => flight.delay) }) // delays: [4, 61.5]
 */
export function quantiles<T, const Qs extends readonly number[]>(
  qs: Qs,
  of: (value: T) => number,
  options: SketchOptions = {},
): AnyAggregate<T, { -readonly [I in keyof Qs]: number }> {
  type Result = { -readonly [I in keyof Qs]: number }
  for (const q of qs) checkQuantile('quantiles', q)
  if (options.relativeError !== undefined) {
    const sketch = ddSketch('quantiles', of, options)
    return { kind: 'quantiles', ...sketch, result: (state) => sketch.quantilesOf(state, qs) as Result }
  }
  return {
    kind: 'quantiles',
    ...keeping('quantiles', of),
    result: (values: number[]) => {
      const inOrder = sorted(values)
      return qs.map((q) => quantileOf(inOrder, q)) as Result
    },
  }
}

function keeping<T>(name: string, of: (value: T) => number): Omit<Aggregate<T, number[], never>, 'result'> {
  const read = numberOf(name, of)
  return {
    init: () => [],
    add: (values, value) => {
      values.push(read(value))
      return values
    },
    // the fewer into the more: sessions merge with one event at a time
    merge: (a, b) => {
      const [more, fewer] = a.length >= b.length ? [a, b] : [b, a]
      for (const value of fewer) more.push(value)
      return more
    },
    check: read,
  }
}

const sorted = (values: readonly number[]) => Float64Array.from(values).sort()

function quantileOf(inOrder: Float64Array, q: number): number {
  const rank = (inOrder.length - 1) * q
  const low = Math.floor(rank)
  const weight = rank - low
  // this form, not low + (high - low) * weight, gives the same last bit as DuckDB's quantile_cont
  return inOrder[low]! * (1 - weight) + inOrder[Math.ceil(rank)]! * weight
}
