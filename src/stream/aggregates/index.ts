// Aggregates over the events of a window. Exact: sums of integers stay integers, quantiles keep their values. States are
// plain JSON, so that a checkpoint can hold them.

/** How a window's events become one value. `State` must survive JSON. */
export interface Aggregate<T, State, Result> {
  init(): State
  /** The state with one more event; may change and return the given one. */
  add(state: State, value: T, timeMs: number): State
  result(state: State): Result
  /** Two states as one; session windows need it. */
  merge?(a: State, b: State): State
  /** For states that are not plain JSON: how they travel in checkpoints. */
  save?(state: State): unknown
  load?(saved: unknown): State
}

/** An aggregate whatever its state; what users put under a name in `.aggregate({…})`. */
// biome-ignore lint/suspicious/noExplicitAny: the state is private to each aggregate
export type AnyAggregate<T, Result = unknown> = Aggregate<T, any, Result>

/** The row that a set of aggregates makes. */
export type Aggregated<Aggregates> = {
  -readonly [Name in keyof Aggregates]: Aggregates[Name] extends { result(state: never): infer Result } ? Result : never
}

/** How many events. */
export function count<T>(): Aggregate<T, number, number> {
  return { init: () => 0, add: (events) => events + 1, result: (events) => events, merge: (a, b) => a + b }
}

/** The sum of a number of each event. */
export function sum<T>(of: (value: T) => number): Aggregate<T, number, number> {
  return { init: () => 0, add: (total, value) => total + of(value), result: (total) => total, merge: (a, b) => a + b }
}

/** The arithmetic mean of a number of each event: sum over count, as SQL's `avg`. */
export function mean<T>(of: (value: T) => number): Aggregate<T, [total: number, events: number], number> {
  return {
    init: () => [0, 0],
    add: (state, value) => {
      state[0] += of(value)
      state[1] += 1
      return state
    },
    result: ([total, events]) => total / events,
    merge: (a, b) => [a[0] + b[0], a[1] + b[1]],
  }
}

/** The share of events for which `test` holds, 0 to 1. */
export function share<T>(test: (value: T) => boolean): Aggregate<T, [hits: number, events: number], number> {
  return {
    init: () => [0, 0],
    add: (state, value) => {
      if (test(value)) state[0] += 1
      state[1] += 1
      return state
    },
    result: ([hits, events]) => hits / events,
    merge: (a, b) => [a[0] + b[0], a[1] + b[1]],
  }
}

/**
 * The exact quantile `q` (0 to 1), interpolated between neighbours: SQL's `percentile_cont`, type 7 of Hyndman and Fan.
 * Keeps every value of the window, so it is for windows of thousands of events, not millions.
 */
export function quantile<T>(q: number, of: (value: T) => number): Aggregate<T, number[], number> {
  return {
    init: () => [],
    add: (values, value) => {
      values.push(of(value))
      return values
    },
    result: (values) => quantileOf(values, q),
    merge: (a, b) => [...a, ...b],
  }
}

/** @internal */
export function quantileOf(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort()
  const rank = (sorted.length - 1) * q
  const low = Math.floor(rank)
  const weight = rank - low
  // this form, not low + (high - low) * weight, gives the same last bit as DuckDB's quantile_cont
  return sorted[low]! * (1 - weight) + sorted[Math.ceil(rank)]! * weight
}
