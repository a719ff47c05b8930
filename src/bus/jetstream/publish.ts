// Publishing to a stream: resolves when stored. A full stream makes the producer wait, never drop; a lost connection, a
// lost acknowledgement and a change of leader are ridden over where sending again is safe.
import type { Msg } from '@nats-io/nats-core'
import { backoff } from '../backoff.ts'
import type { Bus } from '../bus.ts'
import { now } from '../clock.ts'
import { failure, MyelinError } from '../errors.ts'
import { perConnection } from '../per-connection.ts'
import { PendingReply } from '../requests.ts'
import { sleep } from '../timer.ts'
import { apiFailure, manager, readAcknowledgement, replyFailure } from './api.ts'

/** Where a message was stored. `duplicate`: it had been stored before under the same id. */
export interface Persisted {
  readonly stream: string
  readonly sequence: number
  readonly duplicate: boolean
}

/** A message on its way into a stream. */
class PersistReply extends PendingReply {
  readonly promise: Promise<Persisted>
  #resolve!: (stored: Persisted) => void
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
    this.#reject(error)
  }
}

/** How long to try, and what goes with the message. */
export interface PersistOptions {
  /** Absolute, in ms of `now()`. */
  readonly deadline: number
  readonly headerLines?: string
  /** The message carries a `Nats-Msg-Id`, so sending it again is safe. */
  readonly deduplicated?: boolean
}

/** How long an acknowledgement may take before a message with an id is sent again. */
const tryMs = 4_000
/** A server that has just started may not listen for its streams yet. */
const graceMs = 3_000

/**
 * Stores one message. Waits while the stream is full or elects a leader, and sends again after a lost connection or
 * acknowledgement when the message carries an id, until the deadline. What it fails with says what is known: `data.stored`
 * is false, or 'unknown' when something was sent and never acknowledged.
 * @throws MyelinError STREAM_FULL (still full at the deadline), NO_LEADER, STREAM_NOT_FOUND, WRONG_SEQUENCE,
 *   PAYLOAD_TOO_LARGE, DISCONNECTED, DEADLINE_EXCEEDED
 * @example
 * const { sequence } = await persist(bus, 'orders.new', data, {
 *   deadline: now() + 5_000,
 *   headerLines: headerLine('Nats-Msg-Id', id),
 *   deduplicated: true, // it may be sent again: the id makes the stream keep it once
 * })
 */
export function persist(bus: Bus, subject: string, data: Uint8Array, options: PersistOptions): Promise<Persisted> {
  const attempt = new PersistReply(subject, tryUntil(options))
  try {
    bus.start(attempt, data, options.headerLines ?? '')
  } catch (error) {
    return Promise.reject(error)
  }
  return attempt.promise.catch((error: MyelinError) => again(bus, subject, data, options, error))
}

const tryUntil = ({ deduplicated, deadline }: PersistOptions) =>
  deduplicated ? Math.min(deadline, now() + tryMs) : deadline

async function again(
  bus: Bus,
  subject: string,
  data: Uint8Array,
  options: PersistOptions,
  first: MyelinError,
): Promise<Persisted> {
  const startedAt = now()
  let error = first
  let tries = 1
  let lost = false // a try was neither acknowledged nor refused
  const nextMs = backoff(50, 1_000)
  for (;;) {
    const waitMs = nextMs()
    const unanswered = error.code === 'DISCONNECTED' || error.code === 'DEADLINE_EXCEEDED'
    lost ||= unanswered
    const refused = error.code === 'STREAM_FULL' || error.code === 'NO_LEADER' || error.code === 'NO_RESPONDERS'
    if (!refused && !(unanswered && options.deduplicated)) throw error
    if (error.code === 'NO_RESPONDERS') error = await whyNobody(bus, subject, now() - startedAt)
    if (error.code === 'STREAM_NOT_FOUND') throw error
    if (now() + waitMs >= options.deadline) throw lost ? unknown(subject, tries, error) : error
    await sleep(waitMs)
    const attempt = new PersistReply(subject, tryUntil(options))
    try {
      tries += 1
      bus.start(attempt, data, options.headerLines ?? '')
      const stored = await attempt.promise
      // what this very call sent before is no duplicate of anything
      return lost && stored.duplicate ? { ...stored, duplicate: false } : stored
    } catch (next) {
      if (!(next instanceof MyelinError)) throw next
      // a deadline that passes while the stream is full is reported as what it is
      error = next.code === 'DEADLINE_EXCEEDED' && error.code === 'STREAM_FULL' && !options.deduplicated ? error : next
    }
  }
}

function unknown(subject: string, tries: number, cause: MyelinError): MyelinError {
  return failure(
    // a server whose disk got full answered nobody before it said so
    cause.code === 'STREAM_FULL' ? 'STREAM_FULL' : 'DEADLINE_EXCEEDED',
    `${subject}: sent ${tries} ${tries === 1 ? 'time' : 'times'} and never acknowledged; whether it is stored is not known. Sent again with the same id it is stored once (${cause.message})`,
    { cause, data: { stored: 'unknown', tries } },
  )
}

const asked = perConnection(() => new Map<string, Promise<'there' | 'missing' | 'unknown' | 'off'>>())

/** Nobody took a message: is its stream without a leader, or is there none? */
async function whyNobody(bus: Bus, subject: string, afterMs: number): Promise<MyelinError> {
  const open = asked(bus)
  // thousands may wait for the same stream: one of them asks
  let answer = open.get(subject)
  if (!answer) {
    answer = lookFor(bus, subject).finally(() => setTimeout(() => open.delete(subject), 500).unref())
    open.set(subject, answer)
  }
  const found = await answer
  if (found === 'missing' || (found === 'off' && afterMs > graceMs)) {
    return failure(
      'STREAM_NOT_FOUND',
      found === 'off'
        ? `no stream takes ${subject}: JetStream does not answer either; is it on?`
        : `no stream takes ${subject}: it was not created yet, or was removed`,
      { retriable: true, data: { stored: false } },
    )
  }
  return failure('NO_LEADER', `${subject}: its stream has no leader; nothing was stored`, { data: { stored: false } })
}

async function lookFor(bus: Bus, subject: string): Promise<'there' | 'missing' | 'unknown' | 'off'> {
  try {
    const names = await (await manager(bus)).streams.names(subject).next()
    return names.length > 0 ? 'there' : 'missing'
  } catch (error) {
    // who may not ask cannot know
    const { code } = apiFailure(error, subject)
    return code === 'JETSTREAM_DISABLED' ? 'off' : 'unknown'
  }
}
