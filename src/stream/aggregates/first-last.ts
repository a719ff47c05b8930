// What goes by the events' own time, whatever order they come in.
import type { Aggregate } from './aggregate.ts'
import { checkWhole, keepableOf, type Present, presentOf } from './values.ts'

type Held<V> = [timeMs: number, value: V] | null

/**
 * Of the event that happened first, in event time, what `of` says. Of events of the same time the one that came first.
 * Memory for 1 value, which must survive JSON.
 *
 * @throws MyelinError INVALID_INPUT while adding: `of` gives undefined (give null for nothing) or what JSON has no word for
 * @example
 * .aggregate({ opened: first((trade) => trade.price), closed: last((trade) => trade.price) })
 */
export function first<T, V extends Present>(of: (value: T) => V): Aggregate<T, Held<V>, V> {
  return oneInTime('first', of, (timeMs, heldMs) => timeMs < heldMs)
}

/**
 * Of the event that happened last, in event time, what `of` says. Of events of the same time the one that came last.
 * Memory for 1 value, which must survive JSON.
 *
 * @throws MyelinError INVALID_INPUT while adding: `of` gives undefined (give null for nothing) or what JSON has no word for
 * @example
 * .aggregate({ gate: last((change) => change.gate ?? null) })
 */
export function last<T, V extends Present>(of: (value: T) => V): Aggregate<T, Held<V>, V> {
  return oneInTime('last', of, (timeMs, heldMs) => timeMs >= heldMs)
}

function oneInTime<T, V extends Present>(
  name: string,
  of: (value: T) => V,
  replaces: (timeMs: number, heldMs: number) => boolean,
): Aggregate<T, Held<V>, V> {
  const read = presentOf(name, of)
  return {
    kind: name,
    init: () => null,
    add: (held, value, timeMs) => {
      const kept = read(value)
      if (held === null) return [timeMs, kept]
      if (replaces(timeMs, held[0])) {
        held[0] = timeMs
        held[1] = kept
      }
      return held
    },
    // windows without events have no rows
    result: (held) => held?.[1] as V,
    merge: (a, b) => (a === null || (b !== null && replaces(b[0], a[0])) ? b : a),
    check: keepableOf(name, of),
  }
}

interface Collecting<V> {
  readonly times: number[]
  readonly values: V[]
  truncated: boolean
}

export interface Collected<V> {
  values: V[]
  /** There were more events than these. */
  truncated: boolean
}

/**
 * What `of` says of each event, in the order of event time (those of the same time as they came): the first `max` of
 * them, 1,000 unless another number is given, and whether there were more. Memory for `max` values, which must survive JSON; all
 * of them are in each checkpoint after a change.
 *
 * @throws MyelinError INVALID_INPUT while adding: `of` gives undefined (give null for nothing) or what JSON has no word for
 * @example
 * .aggregate({ path: collect((click) => click.page, { max: 50 }) }) // path: { values: ['/', '/cart'], truncated: false }
 */
export function collect<T, V extends Present>(
  of: (value: T) => V,
  { max = 1_000 }: { readonly max?: number } = {},
): Aggregate<T, Collecting<V>, Collected<V>> {
  checkWhole('collect: max', max, 1, 1_000_000)
  const read = presentOf('collect', of)
  return {
    kind: 'collect',
    init: () => ({ times: [], values: [], truncated: false }),
    add: (state, value, timeMs) => {
      insert(state, max, timeMs, read(value), false)
      return state
    },
    result: ({ values, truncated }) => ({ values: [...values], truncated }),
    // the fewer into the more: sessions merge with one event at a time
    merge: (a, b) => {
      if (b.times.length <= a.times.length) {
        for (let i = 0; i < b.times.length; i++) insert(a, max, b.times[i]!, b.values[i]!, false)
        a.truncated ||= b.truncated
        return a
      }
      for (let i = a.times.length - 1; i >= 0; i--) insert(b, max, a.times[i]!, a.values[i]!, true)
      b.truncated ||= a.truncated
      return b
    },
    check: keepableOf('collect', of),
  }
}

/** `before`: it comes before those of the same time, not after them. */
function insert<V>(state: Collecting<V>, max: number, timeMs: number, value: V, before: boolean): void {
  const { times, values } = state
  let at = times.length
  while (at > 0 && (timeMs < times[at - 1]! || (before && timeMs === times[at - 1]))) at -= 1
  if (at === times.length) {
    if (at < max) {
      times.push(timeMs)
      values.push(value)
    } else state.truncated = true
    return
  }
  times.splice(at, 0, timeMs)
  values.splice(at, 0, value)
  if (times.length <= max) return
  times.pop()
  values.pop()
  state.truncated = true
}
