// The values that occur most often, in memory for some of them: Space-Saving (Metwally, Agrawal and El Abbadi, Efficient
// computation of frequent and top-k elements in data streams, 2005), merged as Cafaro, Pulimeno and Tempesta, A parallel
// space saving algorithm for frequent items (2016).
import type { Aggregate } from './aggregate.ts'
import { checkWhole, type Scalar, scalarOf } from './values.ts'

interface Counter<V> {
  value: V
  count: number
  /** How much of the count may be other values', which had the counter before. */
  error: number
  /** Its place in the heap. */
  at: number
}

/** The heap has the lowest count on top: who has that counter loses it to a value that has none. */
interface Summary<V> {
  readonly heap: Counter<V>[]
  readonly byValue: Map<V, Counter<V>>
}

type SavedCounter<V> = readonly [value: V, count: number, error: number]

export interface Frequent<V> {
  value: V
  /** At most so often. */
  count: number
  /** And at least `count - error` times. */
  error: number
}

/**
 * The `k` values (texts, numbers, booleans) that most events have, the most frequent first; equals in the order of their
 * texts. Memory for `counters` values (10 `k` and at least 100, unless another number is given), about 130 bytes
 * each.
 *
 * With no more different values than counters all is exact. Otherwise, of n events, every value that more than
 * n / `counters` of them have has a counter, and a `count` is too high by at most its `error`, which is at most that as
 * well; it is never too low.
 *
 * Space-Saving: Metwally, Agrawal and El Abbadi (2005).
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is something else
 * @example
 * .aggregate({ pages: mostFrequent(3, (click) => click.page) }) // pages: [{ value: '/', count: 812, error: 4 }, …]
 */
export function mostFrequent<T, V extends Scalar>(
  k: number,
  of: (value: T) => V,
  { counters = Math.max(10 * k, 100) }: { readonly counters?: number } = {},
): Aggregate<T, Summary<V>, Frequent<V>[]> {
  checkWhole('mostFrequent: k', k, 1, 10_000)
  checkWhole('mostFrequent: counters', counters, k, 1_000_000)
  const read = scalarOf('mostFrequent', of)
  return {
    kind: 'mostFrequent',
    init: () => ({ heap: [], byValue: new Map() }),
    add: (summary, value) => {
      count(summary, read(value), counters)
      return summary
    },
    result: ({ heap }) =>
      [...heap]
        .sort(byCount)
        .slice(0, k)
        .map(({ value, count, error }) => ({ value, count, error })),
    merge: (a, b) => merged(a, b, counters),
    check: read,
    // in the heap's order, which decides between equals who loses the counter
    save: ({ heap }) => heap.map(({ value, count, error }): SavedCounter<V> => [value, count, error]),
    load: (saved) => summaryOf((saved as SavedCounter<V>[]).map(([value, count, error]) => ({ value, count, error }))),
  }
}

/** Hot path: about 30 ns for a value that has a counter, 140 ns for one that takes another's. */
function count<V>({ heap, byValue }: Summary<V>, value: V, counters: number): void {
  const known = byValue.get(value)
  if (known) {
    known.count += 1
    sink(heap, known)
    return
  }
  if (heap.length < counters) {
    const counter: Counter<V> = { value, count: 1, error: 0, at: heap.length }
    heap.push(counter)
    byValue.set(value, counter)
    rise(heap, counter)
    return
  }
  const lowest = heap[0]!
  byValue.delete(lowest.value)
  byValue.set(value, lowest)
  lowest.value = value
  lowest.error = lowest.count
  lowest.count += 1
  sink(heap, lowest)
}

function sink<V>(heap: Counter<V>[], counter: Counter<V>): void {
  let at = counter.at
  for (;;) {
    let below = 2 * at + 1
    if (below >= heap.length) break
    if (below + 1 < heap.length && heap[below + 1]!.count < heap[below]!.count) below += 1
    const other = heap[below]!
    if (other.count >= counter.count) break
    heap[at] = other
    other.at = at
    at = below
  }
  heap[at] = counter
  counter.at = at
}

function rise<V>(heap: Counter<V>[], counter: Counter<V>): void {
  let at = counter.at
  while (at > 0) {
    const above = (at - 1) >> 1
    const other = heap[above]!
    if (other.count <= counter.count) break
    heap[at] = other
    other.at = at
    at = above
  }
  heap[at] = counter
  counter.at = at
}

/** What has no counter on one side may have had up to the lowest count there. */
function merged<V extends Scalar>(a: Summary<V>, b: Summary<V>, counters: number): Summary<V> {
  if (a.heap.length === 0) return b
  if (b.heap.length === 0) return a
  const missing = ({ heap }: Summary<V>) => (heap.length < counters ? 0 : heap[0]!.count)
  const [missingInA, missingInB] = [missing(a), missing(b)]
  const all: Omit<Counter<V>, 'at'>[] = []
  for (const { value, count, error } of a.heap) {
    const other = b.byValue.get(value)
    all.push({
      value,
      count: count + (other ? other.count : missingInB),
      error: error + (other ? other.error : missingInB),
    })
  }
  for (const { value, count, error } of b.heap) {
    if (!a.byValue.has(value)) all.push({ value, count: count + missingInA, error: error + missingInA })
  }
  return summaryOf(all.sort(byCount).slice(0, counters).reverse())
}

/** Of counters that are a heap already, as those that are in order of their counts are. */
function summaryOf<V>(counters: readonly Omit<Counter<V>, 'at'>[]): Summary<V> {
  const heap = counters.map((counter, at): Counter<V> => ({ ...counter, at }))
  return { heap, byValue: new Map(heap.map((counter) => [counter.value, counter])) }
}

function byCount(a: Omit<Counter<Scalar>, 'at'>, b: Omit<Counter<Scalar>, 'at'>): number {
  if (a.count !== b.count) return b.count - a.count
  const [x, y] = [String(a.value), String(b.value)]
  return x < y ? -1 : x > y ? 1 : typeof a.value < typeof b.value ? -1 : 1
}
