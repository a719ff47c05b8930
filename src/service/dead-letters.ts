// Dead letters: what could not be handled is kept in `DLQ_<service>` with its reason and origin, and can be put back.
import {
  type Bus,
  deleteMessage,
  failure,
  header,
  headerLine,
  MyelinError,
  messageOf,
  readStream,
  type StreamMessage,
  store,
  streamInfo,
} from '../bus/index.ts'
import { deadLetterStream, deadLetterSubject } from '../contract/index.ts'
import { deadLetterSpec, ensureOnce } from './streams.ts'

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
} as const

/** Stores a dead letter. Its id is the message's own place, so that giving up twice keeps one. */
export async function keepDeadLetter(
  bus: Bus,
  source: DeadLetterSource,
  message: StreamMessage,
  error: unknown,
  attempts: number,
): Promise<void> {
  const original = message.headers.all()
  delete original[header.messageId]
  let lines = ''
  for (const [name, value] of Object.entries(original)) {
    if (!name.startsWith('Nats-') && !name.startsWith('Myelin-Dead-')) lines += headerLine(name, value)
  }
  lines +=
    headerLine(named.code, error instanceof MyelinError ? error.code : 'INTERNAL') +
    headerLine(named.reason, messageOf(error).slice(0, 2_000)) +
    headerLine(named.attempts, String(attempts)) +
    headerLine(named.subject, message.subject) +
    headerLine(named.stream, source.stream) +
    headerLine(named.sequence, String(message.sequence)) +
    headerLine(named.redrive, source.redriveSubject(message.subject)) +
    headerLine(header.messageId, `${source.stream}:${message.sequence}:${source.consumer}`)
  await ensureOnce(bus, deadLetterSpec(source.service))
  await store(bus, deadLetterSubject(source.service, source.kind, source.name, source.consumer), message.data, {
    deadline: Date.now() + 10_000,
    headerLines: lines,
    deduplicated: true,
  })
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
  return (await collect(bus, service, query)).map(({ letter }) => letter)
}

/**
 * Puts dead letters back where they came from, then removes them from the dead letters. Each goes back at least once.
 * @returns what was put back
 */
export async function redrive(bus: Bus, service: string, query: DeadLetterQuery = {}): Promise<DeadLetter[]> {
  const found = await collect(bus, service, query)
  for (const { letter, message } of found) {
    let lines = ''
    for (const [name, value] of Object.entries(message.headers.all())) {
      if (!name.startsWith('Nats-') && !name.startsWith('Myelin-Dead-')) lines += headerLine(name, value)
    }
    // a new id for each time it is put back: the old one would be taken for a duplicate
    lines += headerLine(header.messageId, `redrive:${service}:${letter.sequence}`)
    await store(bus, message.headers.get(named.redrive) ?? letter.originalSubject, message.data, {
      deadline: Date.now() + 10_000,
      headerLines: lines,
      deduplicated: true,
    })
    await deleteMessage(bus, deadLetterStream(service), letter.sequence)
  }
  return found.map(({ letter }) => letter)
}

async function collect(
  bus: Bus,
  service: string,
  query: DeadLetterQuery,
): Promise<{ letter: DeadLetter; message: StreamMessage }[]> {
  const stream = deadLetterStream(service)
  const info = await streamInfo(bus, stream)
  if (!info)
    throw failure('STREAM_NOT_FOUND', `service "${service}" has no dead letters: stream ${stream} does not exist`)
  const found: { letter: DeadLetter; message: StreamMessage }[] = []
  if (info.state.messages === 0) return found
  const limit = query.limit ?? 1_000
  await new Promise<void>((resolve, reject) => {
    let stop = () => undefined as void
    const reading = readStream(bus, {
      stream,
      from: 'start',
      onMessage: (message) => {
        const letter = read(message)
        const wanted =
          (query.name === undefined || letter.name === query.name) &&
          (query.sequences === undefined || query.sequences.includes(letter.sequence))
        if (wanted && found.length < limit) found.push({ letter, message })
        reader?.release()
        if (message.sequence >= info.state.last_seq || found.length >= limit) stop()
      },
      onError: reject,
    })
    let reader: Awaited<typeof reading> | undefined
    stop = () => {
      resolve()
      void reading.then((opened) => opened.stop())
    }
    reading.then((opened) => {
      reader = opened
    }, reject)
  })
  return found
}

function read(message: StreamMessage): DeadLetter {
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
    payload: Buffer.from(message.data).toString(),
  }
}
