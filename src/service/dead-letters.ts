// Dead letters: what could not be handled is kept in `DLQ_<service>` with its reason and origin, and can be put back.
import {
  type Bus,
  boundedText,
  copiedLines,
  deleteMessage,
  failure,
  header,
  headerLine,
  keepBelow,
  MyelinError,
  messageOf,
  now,
  type PersistOptions,
  persist,
  persistIn,
  readSpan,
  type StreamMessage,
  streamInfo,
  textHeaderLine,
} from '../bus/internal.ts'
import { deadLetterDataSubject, deadLetterStream, deadLetterSubject } from '../contract/internal.ts'
import { deadLetterBytes, deadLetterSpec } from './streams.ts'

/** Where a dead letter comes from, and where `redrive` puts it. */
export interface DeadLetterSource {
  readonly service: string
  readonly kind: 'job' | 'event'
  readonly name: string
  /** The consumer that gave up. */
  readonly consumer: string
  readonly stream: string
  /** Subject that the message goes back to; for events one that only this consumer reads. */
  readonly redriveSubject: (original: string) => string
}

/** A message that was given up. */
export interface DeadLetter {
  /** Position among the service's dead letters; names it in `redrive`. */
  readonly sequence: number
  readonly kind: 'job' | 'event'
  readonly name: string
  readonly consumer: string
  /** Why: the error's code and message. */
  readonly code: string
  readonly reason: string
  readonly attempts: number
  readonly at: string
  readonly originalSubject: string
  readonly originalSequence: number
  readonly payload: string
}

const named = {
  code: 'Myelin-Dead-Code',
  reason: 'Myelin-Dead-Reason',
  attempts: 'Myelin-Dead-Attempts',
  subject: 'Myelin-Dead-Subject',
  stream: 'Myelin-Dead-Stream',
  sequence: 'Myelin-Dead-Sequence',
  redrive: 'Myelin-Dead-Redrive',
  /** Where the payload and headers are, among the same service's dead letters: with the reason they made no message. */
  data: 'Myelin-Dead-Data',
} as const

/** The message's own headers, without those of its journey. */
const ownLines = (message: StreamMessage) =>
  copiedLines(message.headers, (name) => name.startsWith('Nats-') || name.startsWith('Myelin-Dead-'))

/** Whether a message with these header lines is small enough for the server. */
const fits = (bus: Bus, data: Uint8Array, lines: string) =>
  data.length + Buffer.byteLength(lines) + framingBytes <= bus.maxPayloadBytes
const framingBytes = 16

/**
 * Stores a dead letter. Its id is the message's own place, so that giving up twice keeps one. A message that fills its
 * payload to the limit has no room for a reason: it is stored as it is, and the letter names its place.
 */
export async function keepDeadLetter(
  bus: Bus,
  source: DeadLetterSource,
  message: StreamMessage,
  error: unknown,
  attempts: number,
): Promise<void> {
  const { service, kind, name, consumer, stream } = source
  const id = `${stream}:${message.sequence}:${consumer}`
  const reason =
    headerLine(named.code, error instanceof MyelinError ? error.code : 'INTERNAL') +
    textHeaderLine(named.reason, boundedText(messageOf(error), Math.min(2_000, bus.maxPayloadBytes / 4))) +
    headerLine(named.attempts, String(attempts)) +
    headerLine(named.subject, message.subject) +
    headerLine(named.stream, stream) +
    headerLine(named.sequence, String(message.sequence)) +
    headerLine(named.redrive, source.redriveSubject(message.subject)) +
    headerLine(header.messageId, id)
  const deadline = now() + 10_000
  const own = ownLines(message)
  const spec = deadLetterSpec(service)
  let letter = { data: message.data, headerLines: own + reason }
  if (!fits(bus, letter.data, letter.headerLines)) {
    const options = withId(bus, message.data, own, `${id}:data`, deadline)
    const { sequence } = await persistIn(bus, spec, deadLetterDataSubject(service), message.data, options)
    letter = { data: nothing, headerLines: reason + headerLine(named.data, String(sequence)) }
  }
  await persistIn(bus, spec, deadLetterSubject(service, kind, name, consumer), letter.data, {
    deadline,
    headerLines: letter.headerLines,
    deduplicated: true,
  })
  await keepBelow(bus, spec.name, deadLetterBytes)
}

const nothing = new Uint8Array(0)

/** How a message is stored: under an id, or without one where the id is what makes it too large. */
function withId(bus: Bus, data: Uint8Array, lines: string, id: string, deadline: number): PersistOptions {
  const headerLines = lines + headerLine(header.messageId, id)
  const deduplicated = fits(bus, data, headerLines)
  return { deadline, headerLines: deduplicated ? headerLines : lines, deduplicated }
}

export interface DeadLetterQuery {
  /** Only of this job or event. */
  name?: string
  /** Only these. */
  sequences?: readonly number[]
  limit?: number
}

/** The dead letters of a service, oldest first. @throws MyelinError STREAM_NOT_FOUND */
export async function deadLetters(bus: Bus, service: string, query: DeadLetterQuery = {}): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for await (const { letter } of find(bus, service, { limit: 1_000, ...query })) letters.push(letter)
  return letters
}

/** What became of a dead letter that was to be put back. */
export interface Redriven extends DeadLetter {
  /** Why it could not be put back; it is still a dead letter then. */
  readonly error?: MyelinError
}

/**
 * Puts dead letters back where they came from, then removes them from the dead letters. Each goes back at least once.
 * One that cannot be put back (`ALREADY_QUEUED`, say) stays and holds up none of the others.
 * @returns every letter that was tried; those that stayed have an `error`
 * @throws MyelinError STREAM_NOT_FOUND when the service has no dead letters; CLOSED
 */
export async function redrive(bus: Bus, service: string, query: DeadLetterQuery = {}): Promise<Redriven[]> {
  const tried: Redriven[] = []
  for await (const found of find(bus, service, query)) {
    try {
      await putBack(bus, service, found)
      tried.push(found.letter)
    } catch (thrown) {
      const error = thrown instanceof MyelinError ? thrown : failure('INTERNAL', messageOf(thrown), { cause: thrown })
      if (error.code === 'CLOSED') throw error
      tried.push({ ...found.letter, error })
    }
  }
  return tried
}

interface Found {
  readonly letter: DeadLetter
  readonly message: StreamMessage
  /** The message that was given up: the letter itself, or what was stored beside it; undefined when that is gone. */
  readonly original: StreamMessage | undefined
}

async function putBack(bus: Bus, service: string, { letter, message, original }: Found): Promise<void> {
  const stream = deadLetterStream(service)
  if (!original) {
    throw failure(
      'STREAM_NOT_FOUND',
      `dead letter ${letter.sequence} of ${service}: its payload was stored beside it and is gone`,
    )
  }
  // a new id for each time it is put back: the old one would be taken for a duplicate
  const id = `redrive:${service}:${letter.sequence}`
  const options = withId(bus, original.data, ownLines(original), id, now() + 10_000)
  await persist(bus, message.headers.get(named.redrive) ?? letter.originalSubject, original.data, options)
  await deleteMessage(bus, stream, letter.sequence)
  if (original !== message) await deleteMessage(bus, stream, original.sequence)
}

async function* find(bus: Bus, service: string, query: DeadLetterQuery): AsyncGenerator<Found> {
  const stream = deadLetterStream(service)
  if (!(await streamInfo(bus, stream)))
    throw failure('STREAM_NOT_FOUND', `service "${service}" has no dead letters: stream ${stream} does not exist`)
  const limit = query.limit ?? Number.POSITIVE_INFINITY
  const beside = new Map<number, StreamMessage>()
  let found = 0
  for await (const message of readSpan(bus, stream)) {
    if (message.subject === deadLetterDataSubject(service)) {
      beside.set(message.sequence, message) // its letter is one of the next
      continue
    }
    const at = message.headers.get(named.data)
    const original = at === undefined ? message : beside.get(Number(at))
    if (at !== undefined) beside.delete(Number(at))
    const letter = read(message, original)
    if (query.name !== undefined && letter.name !== query.name) continue
    if (query.sequences !== undefined && !query.sequences.includes(letter.sequence)) continue
    yield { letter, message, original }
    found += 1
    if (found >= limit) return
  }
}

function read(message: StreamMessage, original: StreamMessage | undefined): DeadLetter {
  const [, , kind = 'job', name = '', consumer = ''] = message.subject.split('.')
  const { headers } = message
  return {
    sequence: message.sequence,
    kind: kind === 'event' ? 'event' : 'job',
    name,
    consumer,
    code: headers.get(named.code) ?? '',
    reason: headers.get(named.reason) ?? '',
    attempts: Number(headers.get(named.attempts) ?? 0),
    at: new Date(message.timestampMs).toISOString(),
    originalSubject: headers.get(named.subject) ?? '',
    originalSequence: Number(headers.get(named.sequence) ?? 0),
    payload: Buffer.from(original?.data ?? nothing).toString(),
  }
}
