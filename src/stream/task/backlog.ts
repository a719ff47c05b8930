// Messages that wait for their turn. What they do to clocks is announced to the other partitions ahead of it.
import type { StreamMessage } from '../../bus/internal.ts'
import { isEndOfInput } from '../../contract/internal.ts'
import type { Alignment } from '../alignment.ts'
import { endTick } from '../end-of-input.ts'
import { givenUp } from '../enrich.ts'
import type { Input } from '../input.ts'
import type { Answers } from './answers.ts'
import type { SharedClocks } from './shared-clocks.ts'

export class Backlog {
  readonly #input: Input
  readonly #answers: Answers
  readonly #messages: StreamMessage[] = []
  /** How many of them the other partitions know of. */
  #announced = 0
  /** The one whose answer the next of them wait for. */
  #unanswered: StreamMessage | undefined
  /** Messages the server had not delivered yet, as it said with the last one. */
  undelivered = 0

  constructor(input: Input, answers: Answers) {
    this.#input = input
    this.#answers = answers
  }

  get length(): number {
    return this.#messages.length
  }
  /** The next to have its turn. */
  get first(): StreamMessage | undefined {
    return this.#messages[0]
  }
  /** Input stored and not yet processed. */
  get lag(): number {
    return this.undelivered + this.#messages.length
  }
  /** Whether messages wait that were not announced yet, or that the server has and this partition has not. */
  get behind(): boolean {
    return this.undelivered > 0 || this.#announced < this.#messages.length
  }

  push(message: StreamMessage): void {
    this.#messages.push(message)
  }

  /** The message at a place if it can have its turn as far as answers and the other partitions' clocks go. */
  ready(at: number, alignment: Alignment | undefined): StreamMessage | undefined {
    const next = this.#messages[at]
    if (next === undefined) return undefined
    const answer = this.#answers.of(next)
    if (answer && (!answer.done || answer.error === givenUp)) return undefined
    if (alignment && (at >= this.#announced || !alignment.knows(next.sequence))) return undefined
    return next
  }

  /** So many had their turn. */
  drop(count: number): void {
    this.#messages.splice(0, count)
    this.#announced = Math.max(0, this.#announced - count)
  }

  clear(): void {
    this.#messages.length = 0
  }

  /** What messages do to the clocks is announced before they have their turn; of those that are asked about in order. */
  announce(clocks: SharedClocks): void {
    const { alignment, scout, dataflow } = clocks
    for (; this.#announced < this.#messages.length; this.#announced++) {
      const message = this.#messages[this.#announced]!
      const { sequence, timestampMs } = message
      const source = this.#input.sourceOf(message.subject)
      if (message.data.length === 0 && isEndOfInput(message)) {
        alignment.announce(sequence, [endTick(source, sequence, timestampMs)])
        continue
      }
      const answer = this.#answers.early(source, message)
      if (!answer.done) {
        if (this.#unanswered !== message) void answer.promise.then(() => this.announce(clocks))
        this.#unanswered = message
        return
      }
      const ticks = answer.error === undefined ? scout.ticksOf(sequence, source, answer.value, timestampMs) : []
      alignment.announce(
        sequence,
        ticks.filter(({ clock, ms }) => dataflow.isNews(clock, ms)),
      )
    }
  }
}
