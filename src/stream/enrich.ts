// Asking others about each value before the program sees it: calls of a service, a database. Many questions are under
// way at once, their answers go on in the order of the input.
import { setMaxListeners } from 'node:events'
import { LRUCache } from 'lru-cache'
import { backoff, failure, MyelinError, messageOf, sleep } from '../bus/internal.ts'
import type { EnrichHost, Enrichment, EnrichOptions } from './enrichment.ts'
import type { Source } from './sources.ts'
import { within } from './waits.ts'

/**
 * A source whose values are what `combine` makes of each and of what `ask` was answered about it.
 * A question that fails because the other end cannot answer now, or not within `timeoutMs`, is asked again until it can; one that it refuses (INVALID_INPUT, NOT_FOUND) sends the value to the error output.
 * What is asked is not part of the input: after a crash the answer may be another.
 *
 * @example enrich(event(flights, 'departed'), (flight, { bus }) => client(bus, airports).find({ iata: flight.origin }),
 *   (flight, airport) => ({ ...flight, city: airport.city }), { cache: { key: (flight) => flight.origin, forMs: 60_000 } })
 */
export function enrich<T, Answer, Out>(
  source: Source<T>,
  ask: (value: T, host: EnrichHost) => Promise<Answer>,
  combine: (value: T, answer: Answer) => Out,
  options: EnrichOptions<T> = {},
): Source<Out> {
  const concurrency = options.concurrency ?? 64
  if (!(concurrency >= 1))
    throw failure('INVALID_OPTION', `enrich: concurrency: expected at least 1, got ${concurrency}`)
  return {
    ...source,
    enrichment: { ask, combine, options: { ...options, concurrency } as EnrichOptions<never> },
  } as Source<Out>
}

const again = new Set(['DISCONNECTED', 'NO_RESPONDERS', 'DEADLINE_EXCEEDED', 'OVERLOADED', 'CIRCUIT_OPEN'])

/** What questions that were under way are answered when the processor stops: their values are read again. */
export const givenUp = Symbol('the processor stops')

/** The questions under way for one partition. */
export class Enricher {
  readonly #enrichment: Enrichment
  readonly #host: Omit<EnrichHost, 'signal'>
  readonly #cache: LRUCache<string, Promise<unknown>> | undefined
  readonly #queue: (() => void)[] = []
  readonly #stop = new AbortController()
  #underWay = 0

  constructor(enrichment: Enrichment, host: Omit<EnrichHost, 'signal'>) {
    this.#enrichment = enrichment
    this.#host = host
    const { cache } = enrichment.options
    this.#cache = cache && new LRUCache({ max: cache.max ?? 10_000, ttl: cache.forMs })
    // one listener for each question under way
    setMaxListeners(0, this.#stop.signal)
  }

  /** Resolves with the value and what was answered about it as one. */
  async enrich(value: unknown): Promise<unknown> {
    return this.#enrichment.combine(value as never, (await this.#answer(value)) as never)
  }

  #answer(value: unknown): Promise<unknown> {
    const key = this.#enrichment.options.cache?.key(value as never)
    const known = key === undefined ? undefined : this.#cache?.get(key)
    if (known) return known
    const answer = this.#asked(value)
    if (key !== undefined) {
      this.#cache?.set(key, answer)
      answer.catch(() => this.#cache?.delete(key))
    }
    return answer
  }

  /** Questions under way are given up. */
  stop(): void {
    this.#stop.abort()
    for (const go of this.#queue.splice(0)) go()
  }

  async #asked(value: unknown): Promise<unknown> {
    const { concurrency = 64, timeoutMs = 30_000 } = this.#enrichment.options
    const { signal: stop } = this.#stop
    if (this.#underWay >= concurrency) await new Promise<void>((resolve) => this.#queue.push(resolve))
    this.#underWay += 1
    try {
      const nextMs = backoff(50, 2_000)
      for (let first = true; !stop.aborted; first = false) {
        try {
          return await within('the question', timeoutMs, stop, (signal) =>
            this.#enrichment.ask(value as never, { ...this.#host, signal }),
          )
        } catch (error) {
          if (stop.aborted) break
          if (!(error instanceof MyelinError) || !again.has(error.code)) throw error
          if (first) this.#host.log.warn({ code: error.code }, `asking waits: ${messageOf(error)}`)
        }
        await sleep(nextMs(), stop)
      }
      throw givenUp
    } finally {
      this.#underWay -= 1
      this.#queue.shift()?.()
    }
  }
}
