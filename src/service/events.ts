// Publish/subscribe: sending an event, and the client's side of listening. Events carry CloudEvents headers (binary
// mode of the NATS protocol binding), so that any CloudEvents tool can read them.
import { nuid } from '@nats-io/nats-core'
import {
  type Bus,
  checkedId,
  encodeAttribute,
  failure,
  header,
  headerLine,
  messagingSpan,
  now,
  outgoingTrace,
  type Persisted,
  parseTime,
  persistIn,
  sentIn,
  type TraceContext,
  timeForm,
  traceLines,
  tracingOn,
} from '../bus/internal.ts'
import {
  type Contract,
  type EventDefinition,
  eventSubject,
  eventSubjects,
  type InputOf,
  type OutputOf,
  parse,
  subjectToken,
} from '../contract/internal.ts'
import { bounded, boundedIfNeeded, CallLimits } from './bounded.ts'
import type { Within } from './call.ts'
import type { EncodedEvent, PublishOptions } from './encoded-event.ts'
import { type EventWriter, type EventWriterOptions, eventWriter } from './event-writer.ts'
import { eventStreamSpec } from './streams.ts'
import { type EventSubscribeOptions, type Subscription, subscribeCore, subscribeDurable } from './subscriptions.ts'

/** Options that do nothing here, and so do not compile. */
export type Without<Option extends string> = { readonly [Name in Option]?: never }
/** Only an event that has a key can be picked by it. */
export type KeyFor<Event> = 'key' extends keyof Event ? unknown : Without<'key'>
/** What only the stream of a durable event can do. */
type SubscribeOptionsFor<Event> = KeyFor<Event> &
  ('durable' extends keyof Event
    ? EventSubscribeOptions
    : Omit<EventSubscribeOptions, 'from' | 'leaseMs' | 'onGap'> & Without<'from' | 'leaseMs' | 'onGap'>)

export interface EventClient<Event extends EventDefinition> {
  /**
   * Durable: resolves when stored. Core: resolves when handed to the connection, with backpressure.
   * @throws MyelinError INVALID_INPUT, INVALID_OPTION, STREAM_FULL, PAYLOAD_TOO_LARGE, JETSTREAM_DISABLED
   */
  publish(
    payload: InputOf<Event['payload']>,
    options?: PublishOptions,
  ): Promise<Event extends { durable: unknown } ? Persisted : void>
  /** An async iterable of events; leaving the loop, or `close()`, ends it. */
  subscribe(options?: SubscribeOptionsFor<Event>): Subscription<OutputOf<Event['payload']>>
  /**
   * Of a durable event: writes its stream as the only writer, in batches, exactly once and in order; for feeds and imports.
   * @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, INVALID_OPTION
   * @example
   * await using writer = await client(bus, flights).departed.writer()
   * for (const flight of list) await writer.write(flight, { id: flight.id, time: flight.date })
   * await writer.end() // nothing follows: processors close their last windows
   */
  writer: Event extends { durable: unknown }
    ? (options?: EventWriterOptions) => Promise<EventWriter<InputOf<Event['payload']>>>
    : never
  /** The message that `publish` would send, for writers that batch. Does not validate. */
  encode(payload: InputOf<Event['payload']>, options?: PublishOptions): EncodedEvent
}

let clockMs = 0
let clockText = ''

/** The present time as ISO 8601; formatting costs 0.4 µs, so it is done once per millisecond. */
function nowText(): string {
  const at = Date.now()
  if (at !== clockMs) {
    clockMs = at
    clockText = new Date(at).toISOString()
  }
  return clockText
}

/** A time that was given, as `ce-time` wants it. @throws MyelinError INVALID_OPTION */
function timeText(time: Date | string, where: string): string {
  const ms = parseTime(time)
  const text = ms === undefined || (typeof time === 'string' && time.length >= 20) ? time : new Date(ms).toISOString()
  // a Date may be in a year of more than four digits, which no reader takes
  if (typeof text === 'string' && parseTime(text) !== undefined) return text
  throw failure(
    'INVALID_OPTION',
    `${where}: time: expected ${timeForm}, got ${JSON.stringify(String(time).slice(0, 60))}`,
  )
}

export function eventClient(
  bus: Bus,
  contract: Contract,
  name: string,
  event: EventDefinition,
  lines: string,
  within: Within | undefined,
): EventClient<EventDefinition> {
  const where = `event ${contract.name}.${name}`
  const { key } = event
  const subject = eventSubject(contract.name, name)
  const fixed =
    `ce-specversion:1.0\r\nce-type:${contract.name}.${name}\r\nce-source:/${contract.name}\r\n` +
    `ce-datacontenttype:${bus.codec.contentType}\r\n` +
    headerLine(header.contentType, bus.codec.contentType) +
    lines
  const spec = event.durable ? eventStreamSpec(contract, name) : undefined

  /** All but its trace. */
  const encode = (payload: unknown, options: PublishOptions | undefined): EncodedEvent & { id: string } => {
    const id = options?.id === undefined ? nuid.next() : checkedId(options.id, where)
    const time = options?.time === undefined ? nowText() : timeText(options.time, where)
    return {
      id,
      subject:
        key === undefined
          ? subject
          : `${subject}.${subjectToken((payload as Record<string, unknown> | undefined)?.[key], `${where}: key "${key}"`)}`,
      data: bus.codec.encode(payload),
      headerLines: `${fixed}ce-id:${options?.id === undefined ? id : encodeAttribute(id)}\r\nce-time:${time}\r\n`,
    }
  }
  const spanOf = (event: EncodedEvent & { id: string }, trace: TraceContext | undefined) =>
    tracingOn()
      ? messagingSpan('send', { destination: subject, subject: event.subject, id: event.id }, trace)
      : undefined

  const encoded = (payload: unknown, options?: PublishOptions): EncodedEvent => {
    const { subject, data, headerLines } = encode(payload, options)
    return { subject, data, headerLines: headerLines + traceLines(outgoingTrace(options?.trace ?? within?.trace)) }
  }

  return {
    async publish(payload, options) {
      const from = options?.trace ?? within?.trace
      if (!spec) {
        const event = encode(payload, options)
        const post = (trace: TraceContext | undefined) =>
          bus.post(event.subject, event.data, event.headerLines + traceLines(trace))
        const span = spanOf(event, from)
        if (span) await sentIn(span, from, async (trace) => post(trace))
        else post(from)
        const congested = bus.flow()
        if (congested) {
          const limits = new CallLimits(now() + (options?.timeoutMs ?? 30_000), options?.signal, within)
          await bounded(congested, limits, `publishing ${where}, which was handed over,`)
        }
        return undefined as never
      }
      await parse(event.payload, payload, 'INVALID_INPUT', where) // what is stored stays: no rubbish in
      const message = encode(payload, options)
      const limits = new CallLimits(now() + (options?.timeoutMs ?? 30_000), options?.signal, within)
      const storing = sentIn(spanOf(message, from), from, (trace) =>
        persistIn(bus, spec, message.subject, message.data, {
          deadline: limits.deadline,
          headerLines: message.headerLines + headerLine(header.messageId, message.id) + traceLines(trace),
          deduplicated: true,
        }),
      )
      const mayEnd = within !== undefined || options?.signal !== undefined
      return (await boundedIfNeeded(storing, bus, limits, mayEnd, `storing ${where}`)) as never
    },
    writer: ((options: EventWriterOptions = {}) => {
      if (spec) return eventWriter(bus, contract, name, event, encoded, options)
      return Promise.reject(failure('INVALID_OPTION', `${where} is not durable: there is no stream to write`))
    }) as never,
    encode: encoded,
    subscribe(options = {}) {
      const subjects =
        options.key === undefined
          ? eventSubjects(contract.name, name, key !== undefined)
          : `${subject}.${subjectToken(options.key, `${where}: key`)}`
      if (options.key !== undefined && key === undefined)
        throw failure('INVALID_OPTION', `${where} has no key to pick by`)
      if (options.from !== undefined && !spec)
        throw failure('INVALID_OPTION', `${where} is not durable: there is nothing to replay; declare it durable`)
      const source = { bus, where, schema: event.payload, subjects }
      return (spec ? subscribeDurable(source, spec, options) : subscribeCore(source, options)) as Subscription<never>
    },
  }
}
