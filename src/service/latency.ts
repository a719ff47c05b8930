// How long calls take, as counts per range: what a Prometheus histogram is made of.

/** Upper bounds of the ranges, in ms; the last range has none. */
export const latencyBoundsMs = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] as const

export class Latencies {
  /** Calls per range. */
  readonly counts: number[] = new Array<number>(latencyBoundsMs.length + 1).fill(0)

  /** Hot path, once per call: a few comparisons (most calls are in the first ranges) and an addition. */
  add(ms: number): void {
    let range = 0
    while (range < latencyBoundsMs.length && ms > latencyBoundsMs[range]!) range += 1
    this.counts[range]! += 1
  }
}
