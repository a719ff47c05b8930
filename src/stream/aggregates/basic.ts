// The aggregates that SQL has, in constant memory. About 10 ns per event each, of which the caller's function is a part.
import type { Aggregate } from './aggregate.ts'
import { clamped, inRange, numberOf } from './values.ts'

/**
 * How many events. Exact; 1 number of memory.
 *
 * @example
 * .aggregate({ flights: count() })
 */
export function count<T>(): Aggregate<T, number, number> {
  return {
    kind: 'count',
    init: () => 0,
    add: (events) => events + 1,
    result: (events) => events,
    merge: (a, b) => a + b,
  }
}

/**
 * The sum of a number of each event, in its unit; 0 of none. 1 number of memory. Sums of integers are exact up to 2^53;
 * those of fractions round with each event, so their last digits depend on the order.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number, or the sum would not be one
 * @example
 * .aggregate({ seats: sum((flight) => flight.seats) })
 */
export function sum<T>(of: (value: T) => number): Aggregate<T, number, number> {
  const read = numberOf('sum', of)
  return {
    kind: 'sum',
    bounded: true,
    init: () => 0,
    add: (total, value) => inRange('sum', total + read(value)),
    result: (total) => total,
    merge: (a, b) => clamped(a + b),
    check: read,
  }
}

/**
 * The arithmetic mean of a number of each event, in its unit: sum over count, as SQL's `avg`. 2 numbers of memory; rounds
 * as `sum` does.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number, or the sum would not be one
 * @example
 * .aggregate({ delay: mean((flight) => flight.delay) })
 */
export function mean<T>(of: (value: T) => number): Aggregate<T, [total: number, events: number], number> {
  const read = numberOf('mean', of)
  return {
    kind: 'mean',
    bounded: true,
    init: () => [0, 0],
    add: (state, value) => {
      state[0] = inRange('mean', state[0] + read(value))
      state[1] += 1
      return state
    },
    result: ([total, events]) => total / events,
    merge: (a, b) => {
      a[0] = clamped(a[0] + b[0])
      a[1] += b[1]
      return a
    },
    check: read,
  }
}

/**
 * The share of events for which `test` holds, 0 to 1. Exact; 2 numbers of memory.
 *
 * @example
 * .aggregate({ late: share((flight) => flight.delay > 15) })
 */
export function share<T>(test: (value: T) => boolean): Aggregate<T, [hits: number, events: number], number> {
  return {
    kind: 'share',
    init: () => [0, 0],
    add: (state, value) => {
      if (test(value)) state[0] += 1
      state[1] += 1
      return state
    },
    result: ([hits, events]) => hits / events,
    merge: (a, b) => {
      a[0] += b[0]
      a[1] += b[1]
      return a
    },
    check: test,
  }
}
