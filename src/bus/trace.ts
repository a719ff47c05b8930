// W3C trace context through @opentelemetry/api: spans by OpenTelemetry's messaging conventions where an SDK is
// registered; without one the incoming traceparent is passed on as it came, and nothing else is paid.
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
import { type HeaderReader, header, headerLine } from './headers.ts'

/** The trace a piece of work belongs to, as its W3C headers. */
export interface TraceContext {
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
}

export type MessagingOperation = 'send' | 'process' | 'receive' | 'settle'

const kinds = {
  send: SpanKind.PRODUCER,
  process: SpanKind.CONSUMER,
  receive: SpanKind.CONSUMER,
  settle: SpanKind.CLIENT,
} as const

const noop = new ProxyTracerProvider().getDelegate()

/** Whether an OpenTelemetry SDK is registered. */
export function tracingOn(): boolean {
  const provider = trace.getTracerProvider()
  return provider instanceof ProxyTracerProvider ? provider.getDelegate() !== noop : true
}

/** The W3C headers of a received message. */
export function traceOf(headers: HeaderReader): TraceContext | undefined {
  const traceparent = headers.get(header.traceparent)
  return traceparent === undefined ? undefined : { traceparent, tracestate: headers.get(header.tracestate) }
}

/** Header lines that carry a trace on. */
export function traceLines(from: TraceContext | undefined): string {
  if (!from?.traceparent) return ''
  const parent = headerLine(header.traceparent, from.traceparent)
  return from.tracestate ? parent + headerLine(header.tracestate, from.tracestate) : parent
}

const traceparentFormat = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/

/** Read here, not by the registered propagator: there may be none, or one for other headers. */
function remoteContext({ traceparent, tracestate }: TraceContext): Context {
  const [, traceId, spanId, flags] = traceparentFormat.exec(traceparent ?? '') ?? []
  if (!traceId || !spanId || !flags) return ROOT_CONTEXT
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(tracestate ? { traceState: createTraceState(tracestate) } : {}),
  })
}

/** A started span and the headers that make what follows its child. */
export interface Traced {
  readonly trace: TraceContext | undefined
  /** Runs `work` with the span as the active one, so that the user's own spans become its children. */
  run<T>(work: () => T): T
  end(error?: { code: string; message: string }): void
}

/**
 * Starts a span named and attributed by the messaging conventions; `parent` is the incoming trace, or absent for the
 * active one. Only call when {@link tracingOn}.
 * Source: OpenTelemetry semantic conventions for messaging, and W3C Trace Context.
 */
export function startSpan(
  operation: MessagingOperation,
  destination: string,
  options: { parent?: TraceContext | undefined; kind?: SpanKind; attributes?: Attributes } = {},
): Traced {
  const parent = options.parent ? remoteContext(options.parent) : context.active()
  const span = trace.getTracer('myelin').startSpan(
    `${operation} ${destination}`,
    {
      kind: options.kind ?? kinds[operation],
      attributes: {
        'messaging.system': 'nats',
        'messaging.operation.name': operation,
        'messaging.operation.type': operation,
        'messaging.destination.name': destination,
        ...options.attributes,
      },
    },
    parent,
  )
  const active = trace.setSpan(parent, span)
  return {
    trace: contextOf(span) ?? options.parent,
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

function contextOf(span: Span): TraceContext | undefined {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  if (/^0+$/.test(traceId)) return undefined
  const flags = traceFlags.toString(16).padStart(2, '0')
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: traceState?.serialize() || undefined }
}
