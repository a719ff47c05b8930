// A message delivered from a stream, and what its receiver may say about it.
import type { Msg } from '@nats-io/nats-core'
import { type HeaderReader, readHeaders } from '../headers.ts'

const acknowledge = Buffer.from('+ACK')
const working = Buffer.from('+WPI')

/** Position and history of a delivered message, from its reply subject (ADR-15). */
interface Delivery {
  readonly deliveries: number
  readonly sequence: number
  readonly consumerSequence: number
  readonly timestampMs: number
  readonly pending: number
}

export class StreamMessage {
  readonly #message: Msg
  #delivery: Delivery | undefined
  #headers: HeaderReader | undefined
  #settled = false

  constructor(message: Msg) {
    this.#message = message
  }

  get subject(): string {
    return this.#message.subject
  }
  get data(): Uint8Array {
    return this.#message.data
  }
  get headers(): HeaderReader {
    this.#headers ??= readHeaders(this.#message)
    return this.#headers
  }
  /** Position in the stream. */
  get sequence(): number {
    return this.#info().sequence
  }
  /** Position among what this consumer was sent; a gap means messages were lost on the way. */
  get consumerSequence(): number {
    return this.#info().consumerSequence
  }
  /** How often it was delivered, this time included. */
  get deliveries(): number {
    return this.#info().deliveries
  }
  /** When the server stored it, unix ms. */
  get timestampMs(): number {
    return this.#info().timestampMs
  }
  /** How many more the consumer has to deliver. */
  get pending(): number {
    return this.#info().pending
  }

  /** Done: never delivered again. */
  ack(): void {
    if (!this.#settled) this.#message.respond(acknowledge)
    this.#settled = true
  }
  /** Deliver again, after a delay. */
  nak(delayMs = 0): void {
    if (!this.#settled)
      this.#message.respond(Buffer.from(delayMs > 0 ? `-NAK {"delay":${Math.round(delayMs * 1e6)}}` : '-NAK'))
    this.#settled = true
  }
  /** Still being worked on: extends the lease. */
  working(): void {
    if (!this.#settled) this.#message.respond(working)
  }
  /** Give up: never deliver again; the reason goes into the server's advisory. */
  term(reason: string): void {
    if (!this.#settled) this.#message.respond(Buffer.from(`+TERM ${reason.replace(/[\r\n]+/g, ' ').slice(0, 200)}`))
    this.#settled = true
  }

  #info(): Delivery {
    if (!this.#delivery) {
      // $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time ns>.<pending>, or with
      // <domain>.<account> after ACK and a random last token
      const tokens = this.#message.reply?.split('.') ?? []
      const at = tokens.length > 9 ? 6 : 4
      this.#delivery = {
        deliveries: Number(tokens[at]),
        sequence: Number(tokens[at + 1]),
        consumerSequence: Number(tokens[at + 2]),
        timestampMs: Math.floor(Number(tokens[at + 3]) / 1e6),
        pending: Number(tokens[at + 4]),
      }
    }
    return this.#delivery
  }
}
