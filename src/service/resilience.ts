// Retries within a budget, breaker, bulkhead and hedging for the calls of one program to one endpoint. An endpoint that
// declares none of them pays nothing on the way out, only when a call failed. Every wait ends with the call's deadline
// or signal.
import { failure, type LongTimer, MyelinError, now, setLongTimeout } from '../bus/internal.ts'
import type { ContractDefinition, EndpointDefinition } from '../contract/internal.ts'
import { type Limits, pause } from './bounded.ts'
import { Breaker } from './breaker.ts'

// A call that nobody answers fails at once: waiting would hide that the service is down. A passed deadline stays passed.
const neverRetried = new Set(['NO_RESPONDERS', 'DEADLINE_EXCEEDED', 'CIRCUIT_OPEN', 'CANCELLED'])

const retriable = (error: unknown) => error instanceof MyelinError && error.retriable && !neverRetried.has(error.code)

/** A token bucket: each call earns a part of a retry, so that retries never multiply the load of a service that fails. */
export class RetryBudget {
  #tokens = 10
  readonly #ratio: number
  /** `ratio`: retries per call in the long run. */
  constructor(ratio = 0.2) {
    this.#ratio = ratio
  }
  earn(): void {
    if (this.#tokens < 100) this.#tokens += this.#ratio
  }
  spend(): boolean {
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}

/** One try of a call; the signal, where given, cancels just this one. */
type Attempt = (signal?: AbortSignal) => Promise<unknown>

/** Runs a call under the endpoint's policies. */
export type Guard = (attempt: Attempt, limits: Limits) => Promise<unknown>

/**
 * The policies of a program towards the contracts that it calls. A service has one for all its work: counted anew for
 * each call, no breaker would ever open and no bulkhead be full.
 */
export class Guards {
  readonly #retryRatio: number | undefined
  readonly #known = new WeakMap<ContractDefinition, ReadonlyMap<string, Guard | undefined>>()

  constructor(retryRatio?: number) {
    this.#retryRatio = retryRatio
  }

  /** The guards of a contract's endpoints, by name. */
  of(service: string, definition: ContractDefinition): ReadonlyMap<string, Guard | undefined> {
    let guards = this.#known.get(definition)
    if (!guards) {
      const budget = new RetryBudget(this.#retryRatio)
      guards = new Map(
        Object.entries(definition.endpoints ?? {}).map(([name, endpoint]) => [
          name,
          guardOf(`${service}.${name}`, endpoint, budget),
        ]),
      )
      this.#known.set(definition, guards)
    }
    return guards
  }
}

/** The policies of one endpoint, or undefined where there is nothing to do. */
function guardOf(where: string, endpoint: EndpointDefinition, budget: RetryBudget): Guard | undefined {
  const { breaker: breaking, bulkhead, hedgeAfterMs, retries = 2 } = endpoint.resilience ?? {}
  const breaker = breaking && new Breaker(where, breaking)
  const retrying = endpoint.idempotent === true && retries > 0
  if (!breaker && bulkhead === undefined && !retrying && hedgeAfterMs === undefined) return undefined

  let once: Guard =
    hedgeAfterMs === undefined ? (attempt) => attempt() : (attempt) => hedge(attempt, hedgeAfterMs, budget)
  if (breaker) {
    const inner = once
    once = (attempt, limits) => breaker.run(() => inner(attempt, limits), limits)
  }
  if (bulkhead !== undefined) once = limited(once, bulkhead, where)
  return retrying ? retried(once, retries, budget, where) : once
}

function limited(inner: Guard, limit: number, where: string): Guard {
  let running = 0
  return async (attempt, limits) => {
    if (running >= limit) throw failure('OVERLOADED', `${where}: too many calls at once by this client`)
    running += 1
    try {
      return await inner(attempt, limits)
    } finally {
      running -= 1
    }
  }
}

function retried(inner: Guard, retries: number, budget: RetryBudget, where: string): Guard {
  return (attempt, limits) => {
    budget.earn()
    return inner(attempt, limits).catch(async (first) => {
      let error: unknown = first
      let waitMs = 10 + Math.random() * 40
      for (let retry = 0; retry < retries && retriable(error); retry++) {
        // a pause that reaches past the deadline leads nowhere: the failure there is says more
        if (now() + waitMs >= limits.deadline || !budget.spend()) break
        await pause(waitMs, limits, `the call to ${where}`)
        try {
          return await inner(attempt, limits)
        } catch (next) {
          error = next
        }
        // decorrelated jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
        waitMs = Math.min(1_000, 40 + Math.random() * (waitMs * 3 - 40))
      }
      throw error
    })
  }
}

/** Sends a second request when the first is slow; the first good answer wins and the other is cancelled. */
async function hedge(attempt: Attempt, afterMs: number, budget: RetryBudget): Promise<unknown> {
  const aborts = [new AbortController(), new AbortController()] as const
  const first = attempt(aborts[0].signal)
  let timer: LongTimer | undefined
  const slow = new Promise<'slow'>((resolve) => {
    timer = setLongTimeout(() => resolve('slow'), afterMs)
  })
  const outcome = await Promise.race([first.then(() => 'done' as const), slow]).finally(() => timer?.clear())
  if (outcome === 'done' || !budget.spend()) return first
  const second = attempt(aborts[1].signal)
  first.then(
    () => aborts[1].abort(),
    () => undefined,
  )
  second.then(
    () => aborts[0].abort(),
    () => undefined,
  )
  return Promise.any([first, second]).catch(() => first)
}
