// Waits with an end: whatever a call or a handler waits for, its deadline and its signals reach it.
import { type Bus, failure, type LongTimer, now, setLongTimeout } from '../bus/internal.ts'

/** What ends a wait. Signals are asked for only when there is something to wait for: some are made on first use. */
export interface Limits {
  /** Absolute, ms of `now()`; `Infinity`: none. */
  readonly deadline: number
  signals(): readonly (AbortSignal | undefined)[]
}

/** The limits of one call: what its caller asked for, and the work that it is made in. */
export class CallLimits implements Limits {
  readonly deadline: number
  readonly #signal: AbortSignal | undefined
  readonly #within: { readonly signal: AbortSignal } | undefined

  constructor(
    deadline: number,
    signal: AbortSignal | undefined,
    within: { readonly deadline: number; readonly signal: AbortSignal } | undefined,
  ) {
    this.deadline = within && within.deadline < deadline ? within.deadline : deadline
    this.#signal = signal
    this.#within = within
  }

  signals(): readonly (AbortSignal | undefined)[] {
    return [this.#signal, this.#within?.signal]
  }
}

/**
 * Waits for work that knows no end of its own, which goes on unseen when the wait ends.
 * @throws MyelinError DEADLINE_EXCEEDED, CANCELLED, and whatever the work fails with
 */
export function bounded<Value>(work: Promise<Value>, limits: Limits, what: string): Promise<Value> {
  const signals = limits.signals().filter((signal) => signal !== undefined)
  if (limits.deadline === Number.POSITIVE_INFINITY && signals.length === 0) return work
  return new Promise<Value>((resolve, reject) => {
    let timer: LongTimer | undefined
    const forget = () => {
      timer?.clear()
      for (const signal of signals) signal.removeEventListener('abort', cancel)
    }
    const cancel = () => {
      forget()
      reject(failure('CANCELLED', `${what} was cancelled`))
    }
    work.then(resolve, reject).finally(forget)
    if (signals.some((signal) => signal.aborted)) return cancel()
    for (const signal of signals) signal.addEventListener('abort', cancel, { once: true })
    if (limits.deadline === Number.POSITIVE_INFINITY) return
    timer = setLongTimeout(
      () => {
        forget()
        reject(failure('DEADLINE_EXCEEDED', `the deadline of ${what} passed`))
      },
      Math.max(0, limits.deadline - now()),
    )
  })
}

/** As {@link bounded} where there is something that may end the wait before the work's own deadline does. */
export function boundedIfNeeded<Value>(
  work: Promise<Value>,
  bus: Bus,
  limits: CallLimits,
  mayEnd: boolean,
  what: string,
): Promise<Value> {
  // disconnected, even the first look at a stream waits for as long as that lasts
  return mayEnd || !bus.connected ? bounded(work, limits, what) : work
}

/** Waits a while, or fails as {@link bounded}. */
export async function pause(ms: number, limits: Limits, what: string): Promise<void> {
  let timer: LongTimer | undefined
  const over = new Promise<void>((resolve) => {
    timer = setLongTimeout(resolve, ms)
  })
  await bounded(over, limits, what).finally(() => timer?.clear())
}
