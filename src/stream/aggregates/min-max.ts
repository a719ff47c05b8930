// The least and the greatest, of numbers or of rows.
import type { Aggregate } from './aggregate.ts'
import { checkWhole, keepableOf, numberOf, type Present, presentOf } from './values.ts'

/** JSON has no infinity to begin with. */
type Extreme = number | null

/**
 * The least of a number of each event, in its unit. Exact; 1 number of memory.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number
 * @example
 * .aggregate({ earliest: min((flight) => flight.delay) })
 */
export function min<T>(of: (value: T) => number): Aggregate<T, Extreme, number> {
  const read = numberOf('min', of)
  const least = (a: Extreme, b: Extreme) => (a === null || (b !== null && b < a) ? b : a)
  return {
    kind: 'min',
    init: () => null,
    add: (state, value) => {
      const number = read(value)
      return state === null || number < state ? number : state
    },
    result: (state) => state ?? Number.NaN,
    merge: least,
    check: read,
  }
}

/**
 * The greatest of a number of each event, in its unit. Exact; 1 number of memory.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is not a finite number
 * @example
 * .aggregate({ worst: max((flight) => flight.delay) })
 */
export function max<T>(of: (value: T) => number): Aggregate<T, Extreme, number> {
  const read = numberOf('max', of)
  const greatest = (a: Extreme, b: Extreme) => (a === null || (b !== null && b > a) ? b : a)
  return {
    kind: 'max',
    init: () => null,
    add: (state, value) => {
      const number = read(value)
      return state === null || number > state ? number : state
    },
    result: (state) => state ?? Number.NaN,
    merge: greatest,
    check: read,
  }
}

/** The greatest first; `ranks[i]` is what `rows[i]` was chosen by. */
interface Ranking<Row> {
  readonly ranks: number[]
  readonly rows: Row[]
}

/**
 * The `k` greatest numbers of the events, the greatest first; with `by`, what `of` makes of the `k` events for which `by`
 * is greatest. Of equals the one that came first is before. Exact; memory for `k` (1 to 10,000) values, which must
 * survive JSON. For the least, give the negative: `by: (flight) => -flight.delay`.
 *
 * @throws MyelinError INVALID_INPUT while adding: what it goes by is not a finite number, or `of` gives what JSON has no word for
 * @example
 * .aggregate({ worst: top(3, (flight) => ({ id: flight.id, delay: flight.delay }), { by: (flight) => flight.delay }) })
 */
export function top<T>(k: number, of: (value: T) => number): Aggregate<T, Ranking<number>, number[]>
export function top<T, Row extends Present>(
  k: number,
  of: (value: T) => Row,
  options: { readonly by: (value: T) => number },
): Aggregate<T, Ranking<Row>, Row[]>
export function top<T, Row extends Present>(
  k: number,
  of: (value: T) => Row,
  options?: { readonly by: (value: T) => number },
): Aggregate<T, Ranking<Row>, Row[]> {
  checkWhole('top: k', k, 1, 10_000)
  const rankOf = numberOf('top', options?.by ?? (of as (value: T) => unknown as (value: T) => number))
  const rowOf = presentOf('top', of)
  const checkRow = keepableOf('top', of)
  return {
    kind: 'top',
    init: () => ({ ranks: [], rows: [] }),
    add: (state, value) => {
      const rank = rankOf(value)
      const { ranks, rows } = state
      let at = ranks.length
      // most events are not among them, and are done here
      if (at === k && !(rank > ranks[at - 1]!)) return state
      const row = rowOf(value)
      while (at > 0 && rank > ranks[at - 1]!) at -= 1
      ranks.splice(at, 0, rank)
      rows.splice(at, 0, row)
      if (ranks.length > k) {
        ranks.pop()
        rows.pop()
      }
      return state
    },
    result: ({ rows }) => [...rows],
    merge: (a, b) => {
      const merged: Ranking<Row> = { ranks: [], rows: [] }
      for (let i = 0, j = 0; i + j < a.ranks.length + b.ranks.length && i + j < k; ) {
        const first = j === b.ranks.length || (i < a.ranks.length && a.ranks[i]! >= b.ranks[j]!)
        const from = first ? a : b
        const at = first ? i++ : j++
        merged.ranks.push(from.ranks[at]!)
        merged.rows.push(from.rows[at]!)
      }
      return merged
    },
    check: (value) => {
      rankOf(value)
      checkRow(value)
    },
  }
}
