// Single messages of a stream, read where they lie: by position, by subject, or by a time that grows with it.
import type { StoredMsg } from '@nats-io/jetstream'
import type { Msg } from '@nats-io/nats-core'
import type { Bus } from '../bus.ts'
import { failure, messageOf } from '../errors.ts'
import { type HeaderReader, readHeaders } from '../headers.ts'
import { parseTime } from '../time.ts'
import { apiFailure, manager } from './api.ts'
import { askAgain } from './asked.ts'
import { streamInfo } from './streams.ts'

/** A message as it lies in its stream. */
export interface StoredMessage {
  readonly sequence: number
  readonly subject: string
  readonly data: Uint8Array
  /** When the server stored it, unix ms. */
  readonly timestampMs: number
  /** Undecoded until asked for. */
  readonly headers: HeaderReader
}

/**
 * The first message at or after a position, of these subjects only if given; undefined when there is none yet.
 * Direct gets where the stream allows them (ADR-31), which any replica answers; else the stream's leader is asked.
 * @throws MyelinError STREAM_NOT_FOUND, JETSTREAM_DISABLED, DEADLINE_EXCEEDED, DISCONNECTED
 * @example const first = await nextMessage(bus, 'ORDERS', 1)
 */
export async function nextMessage(
  bus: Bus,
  stream: string,
  from: number,
  options: { subject?: string | undefined; direct?: boolean } = {},
): Promise<StoredMessage | undefined> {
  const direct = options.direct ?? (await infoOf(bus, stream)).config.allow_direct
  const query = { seq: Math.max(1, from), next_by_subj: options.subject ?? '>' }
  try {
    const api = await manager(bus)
    const found = direct ? await api.direct.getMessage(stream, query) : await api.streams.getMessage(stream, query)
    return found ? toMessage(found) : undefined
  } catch (error) {
    throw apiFailure(error, `stream ${stream}`)
  }
}

/**
 * The last message of a subject, or undefined.
 * @example const newest = await lastMessage(bus, 'ORDERS', 'orders.new')
 */
export async function lastMessage(bus: Bus, stream: string, subject: string): Promise<StoredMessage | undefined> {
  try {
    const found = await (await manager(bus)).streams.getMessage(stream, { last_by_subj: subject })
    return found ? toMessage(found) : undefined
  } catch (error) {
    if (/no message found|not found/i.test(messageOf(error))) return undefined
    throw apiFailure(error, `stream ${stream}`)
  }
}

/**
 * The last message of a subject as the stream's leader knows it, or undefined; `direct` when any replica answered, because
 * the leader may not be asked. Asks again until there is an answer: an election lasts a second or two.
 * @throws MyelinError PERMISSION_DENIED, JETSTREAM_DISABLED, DEADLINE_EXCEEDED, DISCONNECTED
 */
export async function latestMessage(
  bus: Bus,
  stream: string,
  subject: string,
  { timeoutMs, where = `stream ${stream}` }: { readonly timeoutMs: number; readonly where?: string },
): Promise<{ readonly message: StoredMsg; readonly direct: boolean } | undefined> {
  const query = { last_by_subj: subject }
  let direct = false
  const ask = async () => {
    const api = await manager(bus)
    try {
      return direct ? await api.direct.getMessage(stream, query) : await api.streams.getMessage(stream, query)
    } catch (error) {
      if (/no message found|stream not found/i.test(messageOf(error))) return null
      // who may only look has this way alone; any replica answers, also one that is a moment behind
      if (direct || !/permissions violation/i.test(messageOf(error))) throw error
      direct = true
      return api.direct.getMessage(stream, query)
    }
  }
  const message = await askAgain(bus, where, ask, timeoutMs)
  return message ? { message, direct } : undefined
}

export interface SequenceAtOptions {
  /** Only messages of these subjects. */
  readonly subject?: string | undefined
  /**
   * A message's own time, unix ms, instead of when it was stored; undefined for those that have none. It must grow with
   * the position: where it goes back (late rows), the answer may be off by as much as they are late.
   */
  readonly timeOf?: ((message: StoredMessage) => number | undefined) | undefined
}

/**
 * Where a stream stands at a time: the sequence of the first message that is not older. Past the end: the sequence that
 * comes next. A binary search, about 20 gets for a million messages.
 * @throws MyelinError INVALID_OPTION, STREAM_NOT_FOUND, JETSTREAM_DISABLED, DEADLINE_EXCEEDED, DISCONNECTED
 *
 * @example
 * const from = await sequenceAt(bus, 'VIEW_delays', Date.parse('2001-03-01T00:00Z'), { timeOf: (row) => hourOf(row.data) })
 */
export async function sequenceAt(
  bus: Bus,
  stream: string,
  timeMs: number,
  options: SequenceAtOptions = {},
): Promise<number> {
  if (parseTime(timeMs) === undefined) throw failure('INVALID_OPTION', `timeMs: expected unix ms, got ${timeMs}`)
  const { config, state } = await infoOf(bus, stream)
  const timeOf = options.timeOf ?? ((message) => message.timestampMs)
  const get = (from: number) =>
    nextMessage(bus, stream, from, { subject: options.subject, direct: config.allow_direct === true })
  let low = Math.max(1, state.first_seq)
  let high = state.last_seq + 1
  // whatever lies before `low` is older, whatever lies from `high` on is not
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2)
    let message = await get(middle)
    let time = message && timeOf(message)
    while (message && time === undefined && message.sequence < high) {
      message = await get(message.sequence + 1)
      time = message && timeOf(message)
    }
    if (!message || message.sequence >= high || time === undefined || time >= timeMs) high = middle
    else low = message.sequence + 1
  }
  return low
}

async function infoOf(bus: Bus, stream: string) {
  const info = await streamInfo(bus, stream)
  if (!info) throw failure('STREAM_NOT_FOUND', `stream ${stream} does not exist`)
  return info
}

/** @internal */
export const toMessage = (found: StoredMsg): StoredMessage => ({
  sequence: found.seq,
  subject: found.subject,
  data: found.data,
  timestampMs: found.time.getTime(),
  get headers() {
    return readHeaders({ headers: found.header } as Msg)
  },
})
