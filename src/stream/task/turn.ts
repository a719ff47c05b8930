// Whose turn it is: the message that is being processed, or the place of one of another partition that moves a clock. What
// comes of it is named by its place, so that a replay gives the same names.
import { type StreamMessage, type TraceContext, traceOf } from '../../bus/internal.ts'
import type { Origin } from '../effects.ts'

const nothing = new Uint8Array(0)

export class Turn {
  #message: StreamMessage | undefined
  #place = 0
  #effects = 0
  #rejections = 0

  /** Hot path. `message`: undefined of one that another partition has. */
  begin(message: StreamMessage | undefined, place: number): void {
    this.#message = message
    this.#place = place
    this.#effects = 0
    this.#rejections = 0
  }

  /** The trace of the message that is being processed. */
  get trace(): TraceContext | undefined {
    return this.#message && traceOf(this.#message.headers)
  }

  /** Of a message of another partition only its place is known. */
  get origin(): Origin {
    return this.#message ?? { sequence: this.#place, subject: '', data: nothing }
  }

  /** `prefix`: which partition of which processor. */
  nextEffectId(prefix: string): string {
    this.#effects += 1
    return `${prefix}.${this.#place}.${this.#effects}`
  }

  nextRejectionId(stream: string, partition: number): string {
    this.#rejections += 1
    const place = `${stream}.${this.#place}`
    const own = this.#message ? place : `${place}.p${partition}`
    return this.#rejections === 1 ? own : `${own}.${this.#rejections}`
  }
}
