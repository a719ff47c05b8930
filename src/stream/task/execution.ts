// What is done with each message: the program gets it, rows and effects of it go out, what cannot be used is rejected. It
// holds the state of a partition: the dataflow, how far the input is processed, and which sources have ended.
import { boundedTraceLines, type StreamMessage, tracingOn } from '../../bus/internal.ts'
import { isEndOfInput } from '../../contract/internal.ts'
import type { Alignment } from '../alignment.ts'
import type { Dataflow } from '../dataflow.ts'
import type { Effects } from '../effects.ts'
import { endedBy } from '../end-of-input.ts'
import type { Place } from '../resume.ts'
import type { Tick } from '../scout.ts'
import type { Answers } from './answers.ts'
import type { TaskOptions } from './options.ts'
import type { Outputs } from './outputs.ts'
import type { Rejections } from './rejections.ts'
import type { Progress } from './saving.ts'
import type { Turn } from './turn.ts'

export interface ExecutionParts {
  readonly dataflow: Dataflow
  readonly turn: Turn
  readonly answers: Answers
  readonly outputs: Outputs
  readonly effects: Effects
  readonly rejections: Rejections
  readonly place: Place
  readonly reject: (error: unknown) => void
  /** An output cannot be written any more. */
  readonly onFailure: (error: unknown) => void
  /** All sources have ended. */
  readonly onAllEnded: () => void
}

export class Execution {
  readonly dataflow: Dataflow
  readonly outputs: Outputs
  readonly #options: TaskOptions
  readonly #parts: ExecutionParts
  readonly #turn: Turn
  readonly #answers: Answers
  readonly #endedSources: Set<number>
  /** Whether all sources have ended. */
  ended: boolean
  /** Messages processed here. */
  read = 0
  /** Up to where the input is processed, and when that was stored. */
  input: number
  inputMs: number
  /** Its clocks are those of all partitions: ends of input and values ahead of their turn come by them. */
  sharedClocks = false

  constructor(options: TaskOptions, parts: ExecutionParts) {
    this.#options = options
    this.#parts = parts
    this.dataflow = parts.dataflow
    this.outputs = parts.outputs
    this.#turn = parts.turn
    this.#answers = parts.answers
    const { place } = parts
    this.ended = place.ended
    this.#endedSources = new Set(place.endedSources)
    this.input = place.input
    this.inputMs = place.inputMs
  }

  /** Hot path. One message from beginning to end, without a promise. */
  process(message: StreamMessage): void {
    this.#turn.begin(message, message.sequence)
    try {
      const source = this.#options.input.sourceOf(message.subject)
      if (message.data.length === 0 && isEndOfInput(message)) {
        this.#end(source)
        if (!this.sharedClocks) this.#passOn(source, message)
      } else {
        if (this.ended) this.#goOn()
        const answer = this.#answers.asks || this.sharedClocks ? this.#answers.take(message) : undefined
        if (answer?.error !== undefined) throw answer.error
        const value = answer ? answer.value : this.#answers.decode(source, message)
        this.dataflow.feed(source, value, message.timestampMs)
      }
    } catch (error) {
      this.#parts.reject(error)
    }
    this.read += 1
    this.input = message.sequence
    this.inputMs = message.timestampMs
    if (this.dataflow.rows.length > 0) this.#emit()
  }

  /** What a message of another partition did to clocks; what it did to several of them belongs to one place. */
  follow(tick: Tick, alignment: Alignment): void {
    this.#turn.begin(undefined, tick.sequence)
    for (let one: Tick | undefined = tick; one !== undefined; one = alignment.next(tick.sequence)) {
      const ended = endedBy(one)
      if (ended === undefined) this.dataflow.tickElsewhere(one.clock, one.ms, one.storedMs)
      else this.#end(ended)
    }
    this.input = tick.sequence
    this.inputMs = tick.storedMs
    if (this.dataflow.rows.length > 0) this.#emit()
  }

  /** What a checkpoint says of it. */
  get progress(): Progress {
    return {
      input: this.input,
      inputMs: this.inputMs,
      outputs: this.outputs.positions,
      rejected: this.#parts.rejections.count,
      ended: this.ended,
      endedSources: [...this.#endedSources],
    }
  }

  reportEnd(): void {
    this.#options.onEnd(this.ended)
  }

  #end(source: number): void {
    this.dataflow.end(source)
    this.#endedSources.add(source)
    const running = this.#options.sources.some(({ kind }, i) => kind === 'events' && !this.#endedSources.has(i))
    if (running) return
    this.ended = true
    this.#parts.onAllEnded()
  }

  /** An end lies in one partition. Where there are no marks, the others get a message of their own. */
  #passOn(source: number, { subject, sequence }: StreamMessage): void {
    const { input, partition, partitions, effects } = this.#options
    if (partitions === 1 || subject === input.endSubject(partition, source)) return
    void this.#parts.effects.start(effects.length + 1, { source, sequence }, '')
  }

  #goOn(): void {
    this.ended = false
    this.reportEnd()
  }

  #emit(): void {
    const { rows } = this.dataflow
    this.dataflow.rows = []
    try {
      // rows carry traces where somebody looks at them: reading them costs a tenth of what a message does
      this.outputs.add(rows, tracingOn() ? boundedTraceLines(this.#turn.trace) : '')
    } catch (error) {
      this.#parts.onFailure(error)
    }
  }
}
