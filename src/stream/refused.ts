// The error output: input that cannot be used, as it came, with the reason.
import {
  type Bus,
  boundedText,
  ensureStream,
  header,
  headerLine,
  headerLines,
  keepBelow,
  MyelinError,
  messageOf,
  nameOf,
  now,
  ownedStream,
  type StreamMessage,
  type StreamSpec,
  storeIn,
  textHeaderLine,
} from '../bus/index.ts'
import type { Effect } from './effects.ts'

export const refusedStream = (processor: string) => nameOf('error output', processor)
export const refusedSubject = (processor: string) => `bad.${processor}`

/** An input message that could not be used, or from which something came that could not go out. */
export interface Refused {
  /** The same in every replay: it is stored once. */
  readonly id: string
  readonly error: unknown
  readonly stream: string
  readonly sequence: number
  readonly subject: string
  readonly data: Uint8Array
}

const sourceHeader = 'Myelin-Source'
/** How long the data was that does not fit beside its reason. */
const cutHeader = 'Myelin-Cut'
const reasonBytes = 1_000
// what the client adds
const headroomBytes = 128

const kept = { maxMessages: 100_000, discard: 'old' } as const
const keptBytes = 256 * 1024 ** 2

/** Stores what was refused, each message once; the oldest are forgotten at the limit. */
export function refuse(processor: string): Effect<Refused> {
  return {
    name: `errors ${refusedStream(processor)}`,
    open({ bus }) {
      // made for the first one: a processor whose input is fine has no stream for errors
      const spec = refusedSpec(processor)
      return async ({ id, error, stream, sequence, subject, data }) => {
        const reason = boundedText(messageOf(error), Math.min(reasonBytes, bus.maxPayloadBytes / 8))
        const lines =
          headerLines({
            [header.messageId]: id,
            [sourceHeader]: `${stream} ${sequence} ${subject}`,
          }) +
          textHeaderLine(header.errorCode, error instanceof MyelinError ? error.code : 'INTERNAL') +
          textHeaderLine(header.error, reason)
        const room = Math.max(0, bus.maxPayloadBytes - Buffer.byteLength(lines) - headroomBytes)
        const fits = data.length <= room
        const { duplicate } = await storeIn(
          bus,
          spec,
          refusedSubject(processor),
          fits ? data : data.subarray(0, room),
          {
            deadline: now() + 30_000,
            deduplicated: true,
            headerLines: fits ? lines : lines + headerLine(cutHeader, String(data.length)),
          },
        )
        await keepBelow(bus, spec.name, keptBytes)
        return { duplicate }
      }
    },
  }
}

/** A message of the error output, for programs. */
export interface Refusal {
  readonly sequence: number
  /** When it was refused, ISO 8601. */
  readonly at: string
  readonly code: string
  readonly reason: string
  /** Where it came from. */
  readonly source: { readonly stream: string; readonly sequence: number; readonly subject: string }
  /** As it came; its beginning where it does not fit beside the reason. */
  readonly data: Uint8Array
  /** How many bytes it had, where only its beginning is here. */
  readonly bytes?: number
}

/** Reads a message of the stream {@link refusedStream}. */
export function readRefusal({ sequence, timestampMs, headers, data }: StreamMessage): Refusal {
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

const refusedSpec = (processor: string): StreamSpec => ({
  ...ownedStream('error output', processor),
  subjects: [refusedSubject(processor)],
  description: `input that processor ${processor} could not use, with the reason`,
  ...kept,
})

/** @internal */
export const ensureRefused = (bus: Bus, processor: string, metadata?: Readonly<Record<string, string>>) =>
  ensureStream(bus, { ...refusedSpec(processor), ...(metadata === undefined ? {} : { metadata }) })
