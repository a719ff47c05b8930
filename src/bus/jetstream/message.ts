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
    this.#delivery ??= readDelivery(this.#message.reply ?? '')
    return this.#delivery
  }
}

const dot = 46
const zero = 48

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time ns>.<pending>`, or the same with
 * `<domain>.<account>` after ACK and a random last token.
 * Hot path, once per message: one pass over the text takes 0.1 µs where splitting it takes 0.5 µs.
 * Source: ADR-15.
 */
function readDelivery(reply: string): Delivery {
  let dots = 0
  for (let i = 0; i < reply.length; i++) if (reply.charCodeAt(i) === dot) dots += 1
  const before = dots > 8 ? 6 : 4
  let at = 0
  for (let seen = 0; seen < before && at < reply.length; at++) if (reply.charCodeAt(at) === dot) seen += 1
  const number = () => {
    let value = 0
    for (; at < reply.length; at++) {
      const digit = reply.charCodeAt(at) - zero
      if (digit < 0) break
      value = value * 10 + digit
    }
    at += 1
    return value
  }
  const deliveries = number()
  const sequence = number()
  const consumerSequence = number()
  // nanoseconds do not fit a number: the last six digits are left out before it is made one
  const timeEnds = reply.indexOf('.', at)
  const timestampMs = Number(reply.slice(at, timeEnds - 6))
  at = timeEnds + 1
  return { deliveries, sequence, consumerSequence, timestampMs, pending: number() }
}
