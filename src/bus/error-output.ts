// The error output: input that could not be used, as it came, with the reason. Processors have one, and whatever else
// reads messages one after the other and must not be stopped by one of them.
import type { Bus } from './bus.ts'
import { now } from './clock.ts'
import { MyelinError, messageOf } from './errors.ts'
import { header, headerLine, headerLines, textHeaderLine } from './headers.ts'
import { keepBelow, persistIn } from './jetstream/ensured.ts'
import type { StreamMessage } from './jetstream/message.ts'
import { ensureStream, type StreamSpec } from './jetstream/streams.ts'
import { nameOf, ownedStream } from './names.ts'
import { boundedText } from './text.ts'

/** An input message that could not be used, or from which something came that could not go out. */
export interface Rejected {
  /** The same in every replay: it is stored once. */
  readonly id: string
  readonly error: unknown
  readonly stream: string
  readonly sequence: number
  readonly subject: string
  readonly data: Uint8Array
}

/** A message of an error output. */
export interface Rejection {
  readonly sequence: number
  /** When it was rejected, ISO 8601. */
  readonly at: string
  readonly code: string
  readonly reason: string
  /** Where it came from. */
  readonly source: { readonly stream: string; readonly sequence: number; readonly subject: string }
  /** As it came; its beginning where it does not fit beside the reason. */
  readonly data: Uint8Array
  /** The length of what came, where only its beginning is here. */
  readonly bytes?: number
}

const sourceHeader = 'Myelin-Source'
/** How long the data was that does not fit beside its reason. */
const cutHeader = 'Myelin-Cut'
const reasonBytes = 1_000
// what the client adds
const headroomBytes = 128
const keptBytes = 256 * 1024 ** 2
/** Kinds of readers that have one, and the kind of their stream's name. */
const kinds = { processor: 'error output', pump: 'pump error output' } as const
const subjects = { processor: 'bad', pump: 'badpump' } as const

/**
 * The error output of a processor or pump. Its stream is made for the first message: whose input is fine has none. The
 * oldest are forgotten at 100,000 messages or 256 MiB.
 * @example
 * const output = new ErrorOutput('processor', 'delays')
 * for await (const message of readSpan(bus, output.stream)) console.log(readRejection(message).reason)
 */
export class ErrorOutput {
  readonly stream: string
  readonly subject: string
  readonly #spec: StreamSpec

  constructor(kind: keyof typeof kinds, name: string) {
    this.stream = nameOf(kinds[kind], name)
    this.subject = `${subjects[kind]}.${name}`
    this.#spec = {
      ...ownedStream(kinds[kind], name),
      subjects: [this.subject],
      description: `input that ${kind} ${name} could not use, with the reason`,
      maxMessages: 100_000,
      discard: 'old',
    }
  }

  /** Makes the stream, where something has to be written down in its metadata. @throws MyelinError as `ensureStream` */
  ensure(bus: Bus, metadata?: Readonly<Record<string, string>>): Promise<void> {
    return ensureStream(bus, { ...this.#spec, ...(metadata === undefined ? {} : { metadata }) })
  }

  /** Stores what was rejected, each id once. @throws MyelinError as {@link persistIn} */
  async add(
    bus: Bus,
    { id, error, stream, sequence, subject, data }: Rejected,
  ): Promise<{ readonly duplicate: boolean }> {
    const reason = boundedText(messageOf(error), Math.min(reasonBytes, bus.maxPayloadBytes / 8))
    const lines =
      headerLines({ [header.messageId]: id, [sourceHeader]: `${stream} ${sequence} ${subject}` }) +
      textHeaderLine(header.errorCode, error instanceof MyelinError ? error.code : 'INTERNAL') +
      textHeaderLine(header.error, reason)
    const room = Math.max(0, bus.maxPayloadBytes - Buffer.byteLength(lines) - headroomBytes)
    const fits = data.length <= room
    const { duplicate } = await persistIn(bus, this.#spec, this.subject, fits ? data : data.subarray(0, room), {
      deadline: now() + 30_000,
      deduplicated: true,
      headerLines: fits ? lines : lines + headerLine(cutHeader, String(data.length)),
    })
    await keepBelow(bus, this.stream, keptBytes)
    return { duplicate }
  }
}

/**
 * Reads a message of an {@link ErrorOutput}.
 * @example for await (const message of readSpan(bus, output.stream)) console.log(readRejection(message).reason)
 */
export function readRejection({ sequence, timestampMs, headers, data }: StreamMessage): Rejection {
  const [stream = '', from = '', subject = ''] = headers.get(sourceHeader)?.split(' ') ?? []
  const cut = headers.get(cutHeader)
  return {
    sequence,
    at: new Date(timestampMs).toISOString(),
    code: headers.get(header.errorCode) ?? headers.get(header.errorStatus) ?? '', // Myelin 0.1 wrote it there
    reason: headers.get(header.error) ?? '',
    source: { stream, sequence: Number(from), subject },
    data,
    ...(cut === undefined ? {} : { bytes: Number(cut) }),
  }
}
