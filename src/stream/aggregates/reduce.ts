// An aggregate from two functions.
import type { Aggregate } from './aggregate.ts'

/**
 * Anything else: the state of a window begins as `init()`, and `add` makes the next of it and an event. The state is what
 * the row has, so it must survive JSON and `add` returns a new one instead of changing it. Without `merge` it is refused
 * in session windows. An `add` that throws sends the event to the error output, but other aggregates may have taken it
 * already: filter what it cannot use, or write an `Aggregate` with `check`.
 *
 * @example
 * .aggregate({
 *   codes: reduce(() => 0, (bits, status: Status) => bits | (1 << status.code), { merge: (a, b) => a | b }),
 * })
 */
export function reduce<T, State>(
  init: () => State,
  add: (state: State, value: T, timeMs: number) => State,
  { merge }: { readonly merge?: (a: State, b: State) => State } = {},
): Aggregate<T, State, State> {
  return { kind: 'reduce', init, add, result: (state) => state, ...(merge ? { merge } : {}) }
}
