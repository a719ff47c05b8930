// What may be offered to browsers: a view, an event of a contract, any stream, a KV table.
import {
  type Bus,
  bucketStream,
  failure,
  type HeaderReader,
  parseTime,
  payloadText,
  type StreamMessage,
  streamInfo,
} from '../bus/internal.ts'
import { type Contract, type EventDefinition, eventStream, eventSubjects, type OutputOf } from '../contract/internal.ts'
import { ensureContractStreams } from '../service/index.ts'
import { ensureView, type View, viewSubject } from '../stream/index.ts'
import type { SlowClientPolicy } from './client.ts'
import type { SseEvent } from './frame.ts'

type Received = Pick<StreamMessage, 'subject' | 'data'> & { readonly headers?: HeaderReader }

/** What a topic reads. `Row` is the type of its payloads; see `RowOf` of `myelin/sse/browser`. */
export interface SseSource<Row = unknown> {
  readonly subject: string
  /** Absent: not kept, from now on only. */
  readonly stream?: string
  /** New clients first get the latest of each key. */
  readonly snapshot: boolean
  /** The stream forgets a key's earlier values by itself: nothing is missed by not seeing those. */
  readonly compacted?: boolean
  readonly policy: SlowClientPolicy
  /** Overrides the gateway's. */
  readonly maxBuffered?: number
  /** The payload's own time, unix ms: what `?from=` means then. */
  readonly timeOf?: (payload: unknown) => number | undefined
  /** What browsers get of a message; undefined: nothing. */
  toEvent(message: Received): SseEvent | undefined
  ensure(bus: Bus): Promise<void>
  /** @internal carries the payload's type */
  readonly row?: Row
}

export interface SourceOptions<Row> {
  /**
   * What a client gets that does not keep up. Default: `coalesce-by-key` of views and tables, `disconnect` of what is
   * kept (the browser resumes), `drop-oldest` of what is not.
   */
  readonly policy?: SlowClientPolicy
  /** Events that wait for one slow client; default: the gateway's `maxBuffered`. */
  readonly maxBuffered?: number
  /**
   * The payload's own time, unix ms or RFC 3339 with a zone, which `?from=` then goes by instead of the time of storage. It must grow
   * with the stream; where rows come late, a replay may begin by as much too early or too late.
   */
  readonly time?: (payload: Row) => number | string
}

function common<Row>({ policy, maxBuffered, time }: SourceOptions<Row>) {
  return {
    ...(policy === undefined ? {} : { policy }),
    ...(maxBuffered === undefined ? {} : { maxBuffered }),
    ...(time === undefined ? {} : { timeOf: (payload: unknown) => millis(time, payload as Row) }),
  }
}

function millis<Row>(time: (payload: Row) => number | string, payload: Row): number | undefined {
  try {
    return parseTime(time(payload))
  } catch {
    return undefined // a payload of another shape has no time
  }
}

/** Most payloads go out as they came in; the key is the subject's last token. Empty ones are marks, not events. */
const asItIs = ({ subject, data }: Received): SseEvent | undefined =>
  data.length === 0 ? undefined : { key: subject.slice(subject.lastIndexOf('.') + 1), data }

/** As {@link asItIs}, of whatever form an event has: CloudEvents in structured mode, MessagePack. */
function anEvent(message: Received): SseEvent | undefined {
  const event = asItIs(message)
  if (!event) return undefined
  try {
    const data = payloadText(message.headers, message.data)
    return data === message.data ? event : { ...event, data }
  } catch {
    return undefined // no event, though it says so
  }
}

/** A processor's view: the latest row of each key, then every new one. Slow clients skip rows that a newer one replaced. */
export function fromView<Row>(view: View<Row>, options: SourceOptions<Row> = {}): SseSource<Row> {
  return {
    subject: viewSubject(view.name, '*'),
    stream: view.spec.name,
    snapshot: true,
    policy: 'coalesce-by-key',
    ...common(options),
    toEvent: asItIs,
    ensure: (bus) => ensureView(bus, view),
  }
}

type EventPayload<Definition> = Definition extends EventDefinition ? OutputOf<Definition['payload']> : unknown

/**
 * An event of a contract, new ones only. Durable: a client that comes back gets what it missed.
 * @throws MyelinError UNKNOWN_ENDPOINT
 */
export function fromEvent<C extends Contract, Name extends string & keyof C['definition']['events']>(
  contract: C,
  name: Name,
  options: SourceOptions<EventPayload<NonNullable<C['definition']['events']>[Name]>> = {},
): SseSource<EventPayload<NonNullable<C['definition']['events']>[Name]>> {
  const event = contract.definition.events?.[name]
  if (!event) {
    const offered = Object.keys(contract.definition.events ?? {}).join(', ') || 'none'
    throw failure('UNKNOWN_ENDPOINT', `contract ${contract.name} has no event "${name}"; events: ${offered}`)
  }
  return {
    subject: eventSubjects(contract.name, name, event.key !== undefined),
    snapshot: false,
    ...(event.durable ? { stream: eventStream(contract.name, name), policy: 'disconnect' } : { policy: 'drop-oldest' }),
    ...common(options),
    toEvent: anEvent,
    ensure: (bus) => ensureContractStreams(bus, contract),
  }
}

export interface StreamSourceOptions<Row> extends SourceOptions<Row> {
  /** Only messages of these subjects. */
  readonly subject?: string
  /** The payload's field that holds the key; default: the subject's last token is the key. */
  readonly key?: string & keyof Row
  /** New clients first get the last message of each subject. */
  readonly snapshot?: boolean
}

/** Any stream of JSON messages, whoever made it; it must exist. New messages, or with `snapshot` the last of each subject first. */
export function fromStream<Row = Record<string, unknown>>(
  stream: string,
  options: StreamSourceOptions<Row> = {},
): SseSource<Row> {
  const { key } = options
  return {
    subject: options.subject ?? '>',
    stream,
    snapshot: options.snapshot === true,
    policy: options.snapshot ? 'coalesce-by-key' : 'disconnect',
    ...common(options),
    toEvent: key === undefined ? bySubject : (message) => keyed(message, key),
    ensure: (bus) => mustExist(bus, stream, `stream ${stream}`),
  }
}

/** Subjects of any stream may have the same last token. */
function bySubject(message: Received): SseEvent | undefined {
  const event = anEvent(message)
  return event && { ...event, row: message.subject }
}

function keyed(message: Received, field: string): SseEvent | undefined {
  const event = anEvent(message)
  const payload = event && (parsed(event.data) as Record<string, unknown> | null | undefined)
  return payload?.[field] === undefined ? event : { ...event!, key: String(payload[field]) }
}

/** A row of a KV table, as browsers see it. */
export type TableRow<Value = unknown> =
  | { readonly key: string; readonly value: Value; readonly deleted?: undefined }
  | { readonly key: string; readonly deleted: true; readonly value?: undefined }

/**
 * A KV bucket: every key with its value, then every change, as `{"key","value"}`; a deletion is `{"key","deleted":true}`.
 * Values that are no JSON are given as text. A filter says `value.<field>`; deletions pass every filter.
 */
export function fromTable<Value = unknown>(
  bucket: string,
  options: SourceOptions<TableRow<Value>> = {},
): SseSource<TableRow<Value>> {
  const prefix = `$KV.${bucket}.`
  return {
    subject: `${prefix}>`,
    stream: bucketStream(bucket),
    snapshot: true,
    compacted: true,
    policy: 'coalesce-by-key',
    ...common(options),
    toEvent: ({ subject, data, headers }) => {
      const key = subject.slice(prefix.length)
      if (headers?.get('KV-Operation') !== undefined || headers?.get('Nats-Marker-Reason') !== undefined) {
        return { key, data: JSON.stringify({ key, deleted: true }), deleted: true }
      }
      const text = Buffer.from(data).toString()
      const value = parsed(data) === undefined ? JSON.stringify(text) : text
      return { key, data: `{"key":${JSON.stringify(key)},"value":${value}}` }
    },
    ensure: (bus) => mustExist(bus, bucketStream(bucket), `KV bucket ${bucket}`),
  }
}

function parsed(data: Uint8Array | string): unknown {
  try {
    if (typeof data === 'string') return JSON.parse(data)
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch {
    return undefined
  }
}

async function mustExist(bus: Bus, stream: string, what: string): Promise<void> {
  if (!(await streamInfo(bus, stream))) throw failure('STREAM_NOT_FOUND', `${what} does not exist; create it first`)
}
