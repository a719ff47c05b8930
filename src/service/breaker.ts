// A circuit breaker: closed, open for a while after failures in a row, then half open for one trial at a time. Whoever
// waits behind a trial keeps its own deadline and signal.
import { failure, MyelinError, now } from '../bus/internal.ts'
import { bounded, type Limits } from './bounded.ts'
import { DeclaredError } from './errors.ts'

// What says that the service is unwell.
const unwell = new Set([
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'OVERLOADED',
  'NO_RESPONDERS',
  'DISCONNECTED',
  'INVALID_REPLY',
])

type Verdict = 'well' | 'unwell' | 'unknown'

/** A failure that is neither: the caller gave up, or what it asked was wrong before anybody saw it. */
function verdictOf(error: unknown): Verdict {
  if (error instanceof MyelinError && unwell.has(error.code)) return 'unwell'
  return error instanceof DeclaredError ? 'well' : 'unknown'
}

export class Breaker {
  readonly #where: string
  readonly #failures: number
  readonly #forMs: number
  #inARow = 0
  /** Open until then; undefined while closed. */
  #openUntil: number | undefined
  #trial: PromiseWithResolvers<void> | undefined

  constructor(where: string, { failures, forMs }: { readonly failures: number; readonly forMs: number }) {
    this.#where = where
    this.#failures = failures
    this.#forMs = forMs
  }

  /** @throws MyelinError CIRCUIT_OPEN, or what ends the wait behind a trial, or what the call fails with */
  async run(call: () => Promise<unknown>, limits: Limits): Promise<unknown> {
    // nobody's failure: it would not even be sent
    if (limits.deadline <= now())
      throw failure('DEADLINE_EXCEEDED', `the deadline of the call to ${this.#where} had passed`)
    const trial = this.#openUntil === undefined ? undefined : await this.#enter(limits)
    let verdict: Verdict = 'unknown'
    try {
      const value = await call()
      verdict = 'well'
      return value
    } catch (error) {
      verdict = verdictOf(error)
      throw error
    } finally {
      this.#learn(verdict, trial)
    }
  }

  /** Waits for the way to be free; resolves with the trial, where this call is it. */
  async #enter(limits: Limits): Promise<PromiseWithResolvers<void> | undefined> {
    while (this.#openUntil !== undefined) {
      if (now() < this.#openUntil)
        throw failure('CIRCUIT_OPEN', `${this.#where}: calls are held back, the last ones failed`)
      if (!this.#trial) {
        this.#trial = Promise.withResolvers()
        return this.#trial
      }
      await bounded(this.#trial.promise, limits, `the call to ${this.#where}, which waited for a trial call,`)
    }
    return undefined
  }

  #learn(verdict: Verdict, trial: PromiseWithResolvers<void> | undefined): void {
    if (trial) {
      // a trial that says nothing leaves it half open: the next call is the trial
      this.#trial = undefined
      if (verdict === 'well') this.#close()
      else if (verdict === 'unwell') this.#openUntil = now() + this.#forMs
      trial.resolve()
    } else if (this.#openUntil !== undefined) {
      // sent before it opened: a late answer is no trial
    } else if (verdict === 'well') this.#inARow = 0
    else if (verdict === 'unwell' && ++this.#inARow >= this.#failures) this.#openUntil = now() + this.#forMs
  }

  #close(): void {
    this.#openUntil = undefined
    this.#inARow = 0
  }
}
