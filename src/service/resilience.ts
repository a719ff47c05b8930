// Retries within a budget, breaker, bulkhead and hedging for the calls of one client to one endpoint; policies by
// cockatiel. An endpoint that declares none of them pays nothing on the way out, only when a call failed.
import {
  BrokenCircuitError,
  BulkheadRejectedError,
  bulkhead,
  ConsecutiveBreaker,
  circuitBreaker,
  decorrelatedJitterGenerator,
  ExponentialBackoff,
  handleWhen,
  type IPolicy,
  retry,
  wrap,
} from 'cockatiel'
import { failure, MyelinError, timerMs } from '../bus/index.ts'
import type { EndpointDefinition } from '../contract/index.ts'

// A call that nobody answers fails at once: waiting would hide that the service is down. A passed deadline stays passed.
const neverRetried = new Set(['NO_RESPONDERS', 'DEADLINE_EXCEEDED', 'CIRCUIT_OPEN', 'CANCELLED'])
// What says that the service is unwell, as opposed to the caller being wrong.
const countsAsFailure = new Set([
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'OVERLOADED',
  'NO_RESPONDERS',
  'DISCONNECTED',
  'INVALID_REPLY',
])

const hasCode = (codes: Set<string>) => (error: unknown) => error instanceof MyelinError && codes.has(error.code)
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
export type Guard = (attempt: Attempt) => Promise<unknown>

/** The policies of one endpoint, or undefined where there is nothing to do. */
export function guardOf(where: string, endpoint: EndpointDefinition, budget: RetryBudget): Guard | undefined {
  const { breaker, bulkhead: limit, hedgeAfterMs, retries = 2 } = endpoint.resilience ?? {}
  const policies: IPolicy[] = []
  if (limit !== undefined) policies.push(bulkhead(limit))
  if (breaker) {
    policies.push(
      circuitBreaker(handleWhen(hasCode(countsAsFailure)), {
        halfOpenAfter: breaker.forMs,
        breaker: new ConsecutiveBreaker(breaker.failures),
      }),
    )
  }
  const retrying = endpoint.idempotent === true && retries > 0
  if (policies.length === 0 && !retrying && hedgeAfterMs === undefined) return undefined

  const policy = policies.length === 0 ? undefined : wrap(...policies)
  const once = (attempt: Attempt): Promise<unknown> => {
    const one = hedgeAfterMs === undefined ? () => attempt() : () => hedge(attempt, hedgeAfterMs, budget)
    return policy ? policy.execute(one).catch((error) => Promise.reject(policyFailure(error, where))) : one()
  }
  if (!retrying) return once
  const retryPolicy = retry(
    handleWhen((error) => retriable(error) && budget.spend()),
    {
      maxAttempts: retries - 1,
      backoff: new ExponentialBackoff({ initialDelay: 40, maxDelay: 1_000, generator: decorrelatedJitterGenerator }),
    },
  )
  return (attempt) => {
    budget.earn()
    return once(attempt).catch(async (error) => {
      if (!retriable(error) || !budget.spend()) throw error
      await new Promise((resolve) => setTimeout(resolve, 10 + Math.random() * 40))
      return retries === 1 ? once(attempt) : retryPolicy.execute(() => once(attempt))
    })
  }
}

/** Sends a second request when the first is slow; the first good answer wins and the other is cancelled. */
async function hedge(attempt: Attempt, afterMs: number, budget: RetryBudget): Promise<unknown> {
  const aborts = [new AbortController(), new AbortController()] as const
  const first = attempt(aborts[0].signal)
  let timer: NodeJS.Timeout | undefined
  const slow = new Promise<'slow'>((resolve) => {
    timer = setTimeout(() => resolve('slow'), timerMs(afterMs))
  })
  const outcome = await Promise.race([first.then(() => 'done' as const), slow]).finally(() => clearTimeout(timer))
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

function policyFailure(error: unknown, where: string): unknown {
  if (error instanceof BrokenCircuitError)
    return failure('CIRCUIT_OPEN', `${where}: calls are held back, the last ones failed`, { cause: error })
  if (error instanceof BulkheadRejectedError)
    return failure('OVERLOADED', `${where}: too many calls at once by this client`, { cause: error })
  return error
}
