// A sketch of a distribution with a relative-error guarantee: DDSketch (Masson, Rim and Lee, VLDB 2019). Values are counted
// in bins that grow by the factor γ = (1 + e) / (1 − e), so that a bin's middle is within e of all that is in it. Our own
// and not @datadog/sketches-js: its bounded bins are dense, so two values far apart already cost it the guarantee, and its
// state is Protobuf.
import { failure } from '../../bus/internal.ts'
import type { Aggregate } from './aggregate.ts'
import { checkWhole, numberOf } from './values.ts'

export interface SketchOptions {
  /** How far from the true value a quantile may be, as a share of it: 0.01 is 1 %. */
  readonly relativeError?: number
  /** How many bins there may be of each sign. */
  readonly maxBins?: number
}

/** Counts by exponent, of values of one sign. */
interface Bins {
  readonly counts: Map<number, number>
  /** The lowest bin, which takes all that is lower, once there are as many as there may be. */
  floor: number
}

interface Sketch {
  zeros: number
  readonly above: Bins
  readonly below: Bins
}

type SavedBins = readonly number[]
type SavedSketch = readonly [relativeError: number, zeros: number, above: SavedBins, below: SavedBins]

/** Doubles below this have fewer digits than the guarantee needs; they count as zero. */
const leastMagnitude = 2.3e-308

interface SketchAggregate<T> extends Omit<Aggregate<T, Sketch, never>, 'result'> {
  quantilesOf(sketch: Sketch, qs: readonly number[]): number[]
}

export function ddSketch<T>(
  name: string,
  of: (value: T) => number,
  { relativeError = 0.01, maxBins = 2_048 }: SketchOptions,
): SketchAggregate<T> {
  if (!(relativeError >= 0.0001 && relativeError <= 0.5)) {
    throw failure('INVALID_OPTION', `${name}: relativeError is a share from 0.0001 to 0.5, got ${relativeError}`)
  }
  checkWhole(`${name}: maxBins`, maxBins, 2, 1_000_000)
  const read = numberOf(name, of)
  const logGamma = Math.log((1 + relativeError) / (1 - relativeError))
  const perLog = 1 / logGamma
  // a bin ends at γ^i; its middle, in the sense of relative error, is 2 γ^i / (γ + 1)
  const logMiddle = Math.log1p(-relativeError)
  const middleOf = (bin: number) => Math.min(Math.exp(bin * logGamma + logMiddle), Number.MAX_VALUE)

  return {
    init: () => ({ zeros: 0, above: emptyBins(), below: emptyBins() }),
    add: (sketch, value) => {
      const number = read(value)
      if (number >= leastMagnitude) tally(sketch.above, Math.ceil(Math.log(number) * perLog), 1, maxBins)
      else if (number <= -leastMagnitude) tally(sketch.below, Math.ceil(Math.log(-number) * perLog), 1, maxBins)
      else sketch.zeros += 1
      return sketch
    },
    merge: (a, b) => ({
      zeros: a.zeros + b.zeros,
      above: mergeBins(a.above, b.above, maxBins),
      below: mergeBins(a.below, b.below, maxBins),
    }),
    check: read,
    save: ({ zeros, above, below }): SavedSketch => [relativeError, zeros, saveBins(above), saveBins(below)],
    load: (saved) => {
      const [savedError, zeros, above, below] = saved as SavedSketch
      if (savedError !== relativeError) {
        throw failure(
          'STREAM_MISMATCH',
          `${name}: the checkpoint's relativeError is ${savedError}, the program's ${relativeError}; give the old one, or begin again`,
        )
      }
      return { zeros, above: loadBins(above, maxBins), below: loadBins(below, maxBins) }
    },
    quantilesOf: ({ zeros, above, below }, qs) => {
      // from the lowest value to the highest: the negative ones begin with the largest exponent
      const steps: [value: number, count: number][] = []
      for (const [bin, count] of ascending(below).reverse()) steps.push([-middleOf(bin), count])
      if (zeros > 0) steps.push([0, zeros])
      for (const [bin, count] of ascending(above)) steps.push([middleOf(bin), count])
      const events = steps.reduce((sum, [, count]) => sum + count, 0)
      return qs.map((q) => {
        let before = Math.floor(q * (events - 1))
        for (const [value, count] of steps) {
          if (before < count) return value
          before -= count
        }
        return Number.NaN
      })
    },
  }
}

const emptyBins = (): Bins => ({ counts: new Map(), floor: Number.NEGATIVE_INFINITY })

const ascending = ({ counts }: Bins) => [...counts].sort(([a], [b]) => a - b)

/** Hot path: about 35 ns, after 20 ns for the logarithm. An array would take 5, and memory for bins that nothing is in. */
function tally(bins: Bins, bin: number, count: number, maxBins: number): void {
  const { counts } = bins
  const at = Math.max(bin, bins.floor)
  counts.set(at, (counts.get(at) ?? 0) + count)
  if (counts.size > maxBins) collapse(bins)
}

/** Makes one of the two lowest bins. What is kept depends on all values, not on their order. */
function collapse(bins: Bins): void {
  const { counts } = bins
  let lowest = Number.POSITIVE_INFINITY
  let second = Number.POSITIVE_INFINITY
  for (const bin of counts.keys()) {
    if (bin < lowest) {
      second = lowest
      lowest = bin
    } else if (bin < second) second = bin
  }
  counts.set(second, counts.get(second)! + counts.get(lowest)!)
  counts.delete(lowest)
  bins.floor = second
}

function mergeBins(a: Bins, b: Bins, maxBins: number): Bins {
  const [more, fewer] = a.counts.size >= b.counts.size ? [a, b] : [b, a]
  for (const [bin, count] of fewer.counts) tally(more, bin, count, maxBins)
  return more
}

/** [bin, count, bin, count, …], ascending. */
const saveBins = (bins: Bins): SavedBins => ascending(bins).flat()

function loadBins(saved: SavedBins, maxBins: number): Bins {
  const bins = emptyBins()
  for (let i = 0; i < saved.length; i += 2) tally(bins, saved[i]!, saved[i + 1]!, maxBins)
  // of as many bins as there may be, the lowest takes what is lower, whether it did so before or not
  if (bins.counts.size === maxBins) bins.floor = saved.at(-2 * maxBins)!
  return bins
}
