// When is silence death? The φ-accrual failure detector of Hayashibara et al. (2004): it learns how regular an
// instance's beats are, and says how unlikely the present silence is; φ = 1 means one in ten, 2 one in a hundred.

/** What a detector makes of a silence. */
export type Suspicion = 'alive' | 'suspect' | 'dead'

const suspectPhi = 2
const deadPhi = 8
const window = 100
/** How many regular beats the sender's promise counts for, before there are real ones. */
const prior = 10
// Bounds of the assumed irregularity, as shares of the promised interval: below, a single late beat would kill; above,
// death would take too long. At one beat a second death is told after 2.4 s to 3.3 s.
const leastDeviation = 0.25
const mostDeviation = 0.4

/** Watches one instance. Times are milliseconds of any clock that never goes back. */
export class PhiDetector {
  readonly #intervals: number[] = []
  #at = 0
  #sum = 0
  #squares = 0
  #lastMs: number
  #promiseMs: number

  constructor(nowMs: number, promiseMs: number) {
    this.#lastMs = nowMs
    this.#promiseMs = promiseMs
  }

  get lastMs(): number {
    return this.#lastMs
  }

  beat(nowMs: number, promiseMs: number): void {
    if (promiseMs !== this.#promiseMs) this.#forget(promiseMs)
    const interval = nowMs - this.#lastMs
    this.#lastMs = nowMs
    // silence that ended in a comeback says nothing about how regular the beats are
    if (interval > 3 * promiseMs) return
    if (this.#intervals.length === window) {
      const oldest = this.#intervals[this.#at]!
      this.#sum -= oldest
      this.#squares -= oldest * oldest
    }
    this.#intervals[this.#at] = interval
    this.#at = (this.#at + 1) % window
    this.#sum += interval
    this.#squares += interval * interval
  }

  /** The silence so far is the watcher's own fault: begin anew. */
  excuse(nowMs: number): void {
    this.#lastMs = nowMs
  }

  #forget(promiseMs: number): void {
    this.#promiseMs = promiseMs
    this.#intervals.length = 0
    this.#at = this.#sum = this.#squares = 0
  }

  phi(nowMs: number): number {
    const promise = this.#promiseMs
    const count = this.#intervals.length + prior
    const sum = this.#sum + prior * promise
    const squares = this.#squares + prior * promise * promise
    // beats that come earlier than promised make nobody more impatient
    const mean = Math.max(sum / count, promise * 0.9)
    const variance = Math.max(0, squares / count - (sum / count) ** 2)
    const deviation = Math.min(Math.max(Math.sqrt(variance), promise * leastDeviation), promise * mostDeviation)
    const y = (nowMs - this.#lastMs - mean) / deviation
    // the tail of the normal distribution, by its logistic approximation (error below 0.0002 of the probability)
    const e = Math.exp(-y * (1.5976 + 0.070566 * y * y))
    const later = y > 0 ? e / (1 + e) : 1 - 1 / (1 + e)
    return later <= 0 ? Number.POSITIVE_INFINITY : -Math.log10(later)
  }

  suspicion(nowMs: number): Suspicion {
    const phi = this.phi(nowMs)
    return phi >= deadPhi ? 'dead' : phi >= suspectPhi ? 'suspect' : 'alive'
  }
}
