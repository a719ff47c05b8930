// Values of messages that are needed before their turn: those that somebody is asked about, and those whose clocks the
// other partitions learn of ahead. A message is decoded once.
import { type Bus, failure, type StreamMessage } from '../../bus/internal.ts'
import { isEndOfInput } from '../../contract/internal.ts'
import type { Logger } from '../../unit/internal.ts'
import { Enricher } from '../enrich.ts'
import type { Input } from '../input.ts'
import type { Source } from '../sources.ts'

/** A message's value, or why it has none. */
export interface Answer {
  done: boolean
  promise: Promise<unknown>
  value?: unknown
  error?: unknown
}

export class Answers {
  readonly #sources: readonly Source<unknown>[]
  readonly #input: Input
  readonly #enrichers: readonly (Enricher | undefined)[]
  readonly #known = new Map<StreamMessage, Answer>()
  /** Whether a source asks somebody about its values. */
  readonly asks: boolean

  constructor(of: { sources: readonly Source<unknown>[]; input: Input; bus: Bus; log: Logger }) {
    const { sources, input, bus, log } = of
    this.#sources = sources
    this.#input = input
    this.#enrichers = sources.map(({ enrichment }) => enrichment && new Enricher(enrichment, { bus, log }))
    this.asks = this.#enrichers.some((enricher) => enricher !== undefined)
  }

  /** Hot path. @throws MyelinError the message cannot be used */
  decode(source: number, message: StreamMessage): unknown {
    const from = this.#sources[source]
    // partitions may publish ends there, and nothing else: the server alone copies events into the input
    if (!from || this.#input.isEndSubject(message.subject)) {
      throw failure('FOREIGN_MESSAGE', `${message.subject} holds what is no end of an input`)
    }
    return from.decode(message, this.#input.keyOf)
  }

  of(message: StreamMessage): Answer | undefined {
    return this.#known.get(message)
  }

  /** The message's turn has come. */
  take(message: StreamMessage): Answer | undefined {
    const answer = this.#known.get(message)
    if (answer) this.#known.delete(message)
    return answer
  }

  /** The value of a message whose turn has not come. */
  early(source: number, message: StreamMessage): Answer {
    const known = this.#known.get(message)
    if (known) return known
    const answer: Answer = { done: true, promise: Promise.resolve() }
    try {
      answer.value = this.decode(source, message)
    } catch (error) {
      answer.error = error
    }
    this.#known.set(message, answer)
    return answer
  }

  /** Questions about a message are asked as soon as it is here; the program gets it when its turn comes. */
  ask(message: StreamMessage): void {
    const source = this.#input.sourceOf(message.subject)
    const enricher = this.#enrichers[source]
    if (!enricher || (message.data.length === 0 && isEndOfInput(message))) return
    const answer: Answer = { done: false, promise: Promise.resolve() }
    const settle = (value: unknown, error?: unknown) => Object.assign(answer, { done: true, value, error })
    try {
      answer.promise = enricher.enrich(this.decode(source, message)).then(settle, (error) => settle(undefined, error))
    } catch (error) {
      settle(undefined, error)
    }
    this.#known.set(message, answer)
  }

  /** Questions under way are given up. */
  stop(): void {
    for (const enricher of this.#enrichers) enricher?.stop()
  }
}
