// What an aggregate is: three functions over a state, and hooks for what not every aggregate needs.

/**
 * How a window's events become one value.
 *
 * `State` must survive JSON, or `save` and `load` say how it does: the state is in checkpoints. There is one state per
 * key and window, so it should be small, and `add` runs for every event.
 *
 * @example
 * const product: Aggregate<Order, number, number> = {
 *   init: () => 1,
 *   add: (total, order) => total * order.factor,
 *   result: (total) => total,
 *   merge: (a, b) => a * b,
 * }
 */
export interface Aggregate<T, State, Result> {
  /** What kind it is: a checkpoint of a program with another kind under the same name is not loaded. */
  readonly kind?: string
  init(): State
  /**
   * The state with one more event; may change and return the given one. One that throws must have changed nothing: the
   * event goes to the error output.
   */
  add(state: State, value: T, timeMs: number): State
  /** Hands out nothing that `add` goes on changing: rows may wait. */
  result(state: State): Result
  /**
   * Two states as one; may change and return either. What is in `a` comes before what is in `b`, where order matters.
   * Must not throw. Session windows need it: an aggregate without it is refused there.
   */
  merge?(a: State, b: State): State
  /**
   * Throws what `add` would throw for this value, and changes nothing. So an event that one of several aggregates
   * refuses is in none of them.
   */
  check?(value: T): unknown
  /** @internal `add` may refuse a number that its state cannot take; the state is a number or a few of them. */
  readonly bounded?: true
  /** For states that are not plain JSON: how they travel in checkpoints. May share with the state; is stored at once. */
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
