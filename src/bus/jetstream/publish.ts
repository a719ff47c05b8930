// Publishing to a stream: resolves when stored. A full stream makes the producer wait, never drop.
import type { Msg } from '@nats-io/nats-core'
import type { Bus } from '../bus.ts'
import { now } from '../clock.ts'
import { failure, MyelinError } from '../errors.ts'
import { PendingReply } from '../requests.ts'
import { readAcknowledgement, replyFailure } from './api.ts'

/** Where a message was stored. `duplicate`: it had been stored before under the same id. */
export interface Stored {
  readonly stream: string
  readonly sequence: number
  readonly duplicate: boolean
}

/** A message on its way into a stream. */
class StoreReply extends PendingReply {
  readonly promise: Promise<Stored>
  #resolve!: (stored: Stored) => void
  #reject!: (error: MyelinError) => void

  constructor(subject: string, deadline: number) {
    super(subject, deadline)
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  onReply(message: Msg): void {
    const ack = readAcknowledgement(message.data)
    if (!ack) return // a stranger's: the server's own comes as well
    this.finish()
    if (ack.error) this.#reject(replyFailure(ack.error, this.subject))
    else this.#resolve({ stream: ack.stream, sequence: ack.sequence, duplicate: ack.duplicate })
  }

  onFailure(error: MyelinError): void {
    this.#reject(
      error.code === 'NO_RESPONDERS'
        ? failure('STREAM_NOT_FOUND', `no stream takes ${this.subject}: it was not created yet, or JetStream is off`, {
            retriable: true,
          })
        : error,
    )
  }
}

export interface StoreOptions {
  /** Absolute, in ms of `now()`. */
  readonly deadline: number
  readonly headerLines?: string
  /** The message carries a `Nats-Msg-Id`, so sending it again is safe. */
  readonly deduplicated?: boolean
}

/**
 * Stores one message. Waits while the stream is full, and sends again after a lost connection when the message carries
 * an id, until the deadline.
 * @throws MyelinError STREAM_FULL (still full at the deadline), STREAM_NOT_FOUND, WRONG_SEQUENCE, PAYLOAD_TOO_LARGE,
 *   DISCONNECTED, DEADLINE_EXCEEDED
 */
export function store(bus: Bus, subject: string, data: Uint8Array, options: StoreOptions): Promise<Stored> {
  const attempt = new StoreReply(subject, options.deadline)
  try {
    bus.start(attempt, data, options.headerLines ?? '')
  } catch (error) {
    return Promise.reject(error)
  }
  return attempt.promise.catch((error: MyelinError) => again(bus, subject, data, options, error, 50))
}

async function again(
  bus: Bus,
  subject: string,
  data: Uint8Array,
  options: StoreOptions,
  error: MyelinError,
  waitMs: number,
): Promise<Stored> {
  const sendAgain = error.code === 'STREAM_FULL' || (error.code === 'DISCONNECTED' && options.deduplicated === true)
  if (!sendAgain || now() + waitMs >= options.deadline) throw error
  await new Promise((resolve) => setTimeout(resolve, waitMs))
  const attempt = new StoreReply(subject, options.deadline)
  try {
    bus.start(attempt, data, options.headerLines ?? '')
    return await attempt.promise
  } catch (next) {
    if (!(next instanceof MyelinError)) throw next
    // a deadline that passes while the stream is full is reported as what it is
    const told = next.code === 'DEADLINE_EXCEEDED' && error.code === 'STREAM_FULL' ? error : next
    return again(bus, subject, data, options, told, Math.min(waitMs * 2, 2_000))
  }
}
