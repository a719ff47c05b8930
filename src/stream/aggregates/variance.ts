// How far values are from their mean: Welford's method, which does not lose small spreads at large means.
import { failure } from '../../bus/internal.ts'
import type { Aggregate } from './aggregate.ts'
import { clamped, inRange, numberOf } from './values.ts'

/** `squares`: the sum of the squared distances from the mean. */
type Moments = [events: number, mean: number, squares: number]

export interface VarianceOptions {
  /** `sample` (the default) divides by n - 1, as SQL's `var_samp` and `stddev_samp`; `population` by n. */
  readonly kind?: 'sample' | 'population'
}

/**
 * The variance of a number of each event, in its unit squared. 3 numbers of memory. A sample of one event has none: NaN,
 * which is null in the row.
 *
 * Welford, Note on a method for calculating corrected sums of squares and products (1962); merged as Chan, Golub and
 * LeVeque, Updating formulae and a pairwise algorithm for computing sample variances (1979).
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number, or too far from the others (1e154)
 * @example
 * .aggregate({ spread: variance((flight) => flight.delay, { kind: 'population' }) })
 */
export function variance<T>(of: (value: T) => number, options: VarianceOptions = {}): Aggregate<T, Moments, number> {
  return moments('variance', of, options, (squared) => squared)
}

/**
 * The standard deviation of a number of each event, in its unit: the square root of `variance`, with the same memory.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number, or too far from the others (1e154)
 * @example
 * .aggregate({ delay: mean((flight) => flight.delay), spread: stddev((flight) => flight.delay) })
 */
export function stddev<T>(of: (value: T) => number, options: VarianceOptions = {}): Aggregate<T, Moments, number> {
  return moments('stddev', of, options, Math.sqrt)
}

function moments<T>(
  name: string,
  of: (value: T) => number,
  { kind = 'sample' }: VarianceOptions,
  resultOf: (variance: number) => number,
): Aggregate<T, Moments, number> {
  if (kind !== 'sample' && kind !== 'population') {
    throw failure('INVALID_OPTION', `${name}: kind is 'sample' or 'population', got '${kind}'`)
  }
  const fewer = kind === 'sample' ? 1 : 0
  const read = numberOf(name, of)
  return {
    kind: name,
    bounded: true,
    init: () => [0, 0, 0],
    add: (state, value) => {
      const number = read(value)
      const events = state[0] + 1
      const distance = number - state[1]
      const mean = state[1] + distance / events
      state[2] = inRange(name, state[2] + distance * (number - mean))
      state[1] = mean
      state[0] = events
      return state
    },
    result: ([events, , squares]) => resultOf(squares / Math.max(events - fewer, 0)),
    merge: (a, b) => {
      if (a[0] === 0) return b
      if (b[0] === 0) return a
      const events = a[0] + b[0]
      const distance = b[1] - a[1]
      const [ours, theirs] = [a[0] / events, b[0] / events]
      a[2] = clamped(a[2] + b[2] + distance * distance * ours * b[0])
      a[1] = a[1] * ours + b[1] * theirs
      a[0] = events
      return a
    },
    check: read,
  }
}
