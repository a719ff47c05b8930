// W3C trace context through @opentelemetry/api: spans by OpenTelemetry's conventions for RPC and messaging where an SDK
// is registered; without one an incoming trace is passed on, and nothing else is paid.
import {
  type Attributes,
  type Context,
  context,
  createTraceState,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { MyelinError, messageOf } from './errors.ts'
import { type HeaderReader, header, headerLine } from './headers.ts'

/** The trace a piece of work belongs to, as its W3C headers. */
export interface TraceContext {
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
}

const noop = new ProxyTracerProvider().getDelegate()

/** Whether an OpenTelemetry SDK is registered. */
export function tracingOn(): boolean {
  const provider = trace.getTracerProvider()
  return provider instanceof ProxyTracerProvider ? provider.getDelegate() !== noop : true
}

/**
 * The trace that a received message belongs to; undefined where its traceparent is none, or is there twice.
 * Source: W3C Trace Context, Level 1, sections 3.2 and 3.3; of later versions what the first defines is read.
 */
export function traceOf(headers: HeaderReader): TraceContext | undefined {
  const value = headers.only(header.traceparent)
  const traceparent = value === undefined ? undefined : readTraceparent(value)
  if (traceparent === undefined) return undefined
  return { traceparent, tracestate: readTracestate(headers.values(header.tracestate)) }
}

/** Header lines that carry a trace on. */
export function traceLines(from: TraceContext | undefined): string {
  if (!from?.traceparent) return ''
  const parent = headerLine(header.traceparent, from.traceparent)
  return from.tracestate ? parent + headerLine(header.tracestate, from.tracestate) : parent
}

/** As {@link traceLines}, without a tracestate that takes more than the 512 characters every participant must pass on. */
export function boundedTraceLines(from: TraceContext | undefined): string {
  const long = from?.tracestate !== undefined && from.tracestate.length > 512
  return traceLines(long ? { traceparent: from.traceparent } : from)
}

const traceparentForm = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s
const zeros = /^0+$/

/** A traceparent that is one, in the form of version 00. */
function readTraceparent(text: string): string | undefined {
  const [, version, traceId, spanId, flags, more] = traceparentForm.exec(text) ?? []
  if (!traceId || !spanId || version === 'ff' || zeros.test(traceId) || zeros.test(spanId)) return undefined
  if (version === '00') return more === undefined ? text : undefined
  // of a version to come only the sampled flag has a meaning known here
  return `00-${traceId}-${spanId}-0${Number.parseInt(flags!, 16) & 1}`
}

const maxMembers = 32
const maxStateLength = 8_192
const memberForm =
  /^(?:[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/

/** The members of all lines, in their order; nothing where one of them is none. */
function readTracestate(lines: readonly string[]): string | undefined {
  if (lines.length === 0) return undefined
  const members = lines
    .join(',')
    .split(',')
    .map((member) => member.trim())
    .filter(Boolean)
  const text = members.join(',')
  const fine = members.length <= maxMembers && text.length <= maxStateLength && members.every((m) => memberForm.test(m))
  return fine && text !== '' ? text : undefined
}

/** Read here, not by the registered propagator: there may be none, or one for other headers. */
function remoteContext(from: TraceContext | undefined): Context {
  const [, , traceId, spanId, flags] = traceparentForm.exec(from?.traceparent ?? '') ?? []
  if (!traceId || !spanId || !flags || readTraceparent(from!.traceparent!) === undefined) return ROOT_CONTEXT
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(from?.tracestate ? { traceState: createTraceState(from.tracestate) } : {}),
  })
}

/** What goes out belongs to the active span, where there is one, else to the work it is sent in. */
function outgoingContext(within: TraceContext | undefined): Context {
  return trace.getActiveSpan() || !within ? context.active() : remoteContext(within)
}

/** The trace that something sent now belongs to, without a span of its own. */
export function outgoingTrace(within: TraceContext | undefined): TraceContext | undefined {
  if (!tracingOn()) return within
  const span = trace.getActiveSpan()
  return (span && contextOf(span)) ?? within
}

/**
 * Runs something as a part of a trace that came from elsewhere.
 * @example await inTrace(traceOf(message.headers), () => handle(message))
 */
export function inTrace<T>(from: TraceContext | undefined, work: () => T): T {
  return from && tracingOn() ? context.with(remoteContext(from), work) : work()
}

/** A started span and the headers that make what follows its child. */
export interface Traced {
  readonly trace: TraceContext | undefined
  /** Runs `work` with the span as the active one, so that the user's own spans become its children. */
  run<T>(work: () => T): T
  end(error?: { code: string; message: string }): void
}

/**
 * Starts the span of a call, on the `client`'s side or the `server`'s. Only call when {@link tracingOn}, as all that
 * start spans here. Source: OpenTelemetry semantic conventions for RPC.
 */
export function rpcSpan(
  side: 'client' | 'server',
  service: string,
  method: string,
  subject: string,
  parent: TraceContext | undefined,
): Traced {
  return startSpan(
    `${service}/${method}`,
    side === 'client' ? SpanKind.CLIENT : SpanKind.SERVER,
    {
      'rpc.system': 'nats',
      'rpc.service': service,
      'rpc.method': method,
      'messaging.destination.name': subject,
    },
    side === 'client' ? outgoingContext(parent) : remoteContext(parent),
    parent,
  )
}

/** What a span of an event or a job is about. */
export interface Messaging {
  /** Where all messages of this kind go, without their key: the span is named by it. */
  readonly destination: string
  readonly subject: string
  readonly id?: string | undefined
  /** Those who share the messages. */
  readonly group?: string | undefined
}

/**
 * Starts the span of an event or a job: where it is sent (`send`, a producer), or handled (`process`, a consumer).
 * Source: OpenTelemetry semantic conventions for messaging.
 */
export function messagingSpan(
  operation: 'send' | 'process',
  about: Messaging,
  parent: TraceContext | undefined,
): Traced {
  const { destination, subject, id, group } = about
  return startSpan(
    `${operation} ${destination}`,
    operation === 'send' ? SpanKind.PRODUCER : SpanKind.CONSUMER,
    {
      'messaging.system': 'nats',
      'messaging.operation.name': operation,
      'messaging.operation.type': operation,
      'messaging.destination.name': subject,
      ...(subject === destination ? {} : { 'messaging.destination.template': `${destination}.{key}` }),
      ...(id === undefined ? {} : { 'messaging.message.id': id }),
      ...(group === undefined ? {} : { 'messaging.consumer.group.name': group }),
    },
    operation === 'send' ? outgoingContext(parent) : remoteContext(parent),
    parent,
  )
}

function startSpan(
  name: string,
  kind: SpanKind,
  attributes: Attributes,
  parent: Context,
  otherwise: TraceContext | undefined,
): Traced {
  const span = trace.getTracer('myelin').startSpan(name, { kind, attributes }, parent)
  const active = trace.setSpan(parent, span)
  return {
    trace: contextOf(span) ?? otherwise,
    run: (work) => context.with(active, work),
    end: (error) => {
      if (error) {
        span.setAttribute('error.type', error.code)
        span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
      }
      span.end()
    },
  }
}

/** Sends something in its span, given where tracing is on; else as a part of the trace that it is sent in. */
export async function sentIn<T>(
  span: Traced | undefined,
  within: TraceContext | undefined,
  send: (trace: TraceContext | undefined) => Promise<T>,
): Promise<T> {
  if (!span) return send(within)
  try {
    const result = await send(span.trace)
    span.end()
    return result
  } catch (error) {
    span.end(codeAndMessage(error))
    throw error
  }
}

/** What a span says of an error. */
export function codeAndMessage(error: unknown): { code: string; message: string } {
  return { code: error instanceof MyelinError ? error.code : 'INTERNAL', message: messageOf(error) }
}

function contextOf(span: Span): TraceContext | undefined {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  if (/^0+$/.test(traceId)) return undefined
  const flags = traceFlags.toString(16).padStart(2, '0')
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: traceState?.serialize() || undefined }
}
