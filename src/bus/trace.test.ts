import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { withNats } from '../../test/support/nats.ts'
import { type HeaderReader, readHeaders, startSpan, traceLines, traceOf, tracingOn } from './index.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const incoming = { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: 'vendor=1' }

describe('a trace', () => {
  const nats = withNats()
  it('arrives over the wire as it was sent', async () => {
    const got = new Promise<HeaderReader>((resolve) => {
      nats.bus.subscribe('traced', (message) => resolve(readHeaders(message)))
    })
    nats.bus.publish('traced', Buffer.from('x'), traceLines(incoming))
    expect(traceOf(await got)).toEqual(incoming)
  })

  it('is nothing when nothing was sent', () => {
    expect(traceLines(undefined)).toBe('')
    expect(traceLines({ traceparent: undefined, tracestate: 'vendor=1' })).toBe('')
    expect(traceLines({ traceparent: incoming.traceparent })).toBe(`traceparent:${incoming.traceparent}\r\n`)
  })
})

describe('without an OpenTelemetry SDK', () => {
  it('tracing is off and the incoming trace is passed on unchanged', () => {
    expect(tracingOn()).toBe(false)
    const traced = startSpan('process', 'flights', { parent: incoming })
    expect(traced.trace?.traceparent).toBe(incoming.traceparent)
    expect(traced.run(() => 'done')).toBe('done')
    traced.end()
  })

  it('no trace is invented', () => {
    expect(startSpan('send', 'flights').trace).toBeUndefined()
  })
})

describe('with an OpenTelemetry SDK', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(provider)
  })
  afterEach(() => exporter.reset())
  afterAll(async () => {
    await provider.shutdown()
    trace.disable()
    context.disable()
    expect(tracingOn()).toBe(false)
  })

  it('a span is the child of the incoming trace, and what follows is the child of the span', () => {
    expect(tracingOn()).toBe(true)
    const traced = startSpan('process', 'flights.get', { parent: incoming, attributes: { 'myelin.unit': 'board' } })
    traced.end()
    const [span] = exporter.getFinishedSpans()
    expect(span!.spanContext().traceId).toBe(traceId)
    expect(span!.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
    expect(traced.trace).toEqual({
      traceparent: `00-${traceId}-${span!.spanContext().spanId}-01`,
      tracestate: 'vendor=1',
    })
    expect(span).toMatchObject({ name: 'process flights.get', kind: SpanKind.CONSUMER })
    expect(span!.attributes).toMatchObject({
      'messaging.system': 'nats',
      'messaging.operation.name': 'process',
      'messaging.destination.name': 'flights.get',
      'myelin.unit': 'board',
    })
  })

  it('a trace that is not well formed is left behind, and a new one begins', () => {
    for (const traceparent of ['', 'rubbish', `00-${traceId}`, `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
      startSpan('process', 'flights', { parent: { traceparent } }).end()
      const span = exporter.getFinishedSpans().at(-1)!
      expect(span.parentSpanContext).toBeUndefined()
      expect(span.spanContext().traceId).not.toBe(traceId)
    }
  })

  it("the user's own spans become children, also after an await", async () => {
    const traced = startSpan('process', 'flights', { parent: incoming })
    await traced.run(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      trace.getTracer('user').startSpan('own').end()
    })
    traced.end()
    const [own, span] = exporter.getFinishedSpans()
    expect(own!.parentSpanContext?.spanId).toBe(span!.spanContext().spanId)
  })

  it('a span without an incoming trace is the child of the active one, else a root', () => {
    const outer = startSpan('process', 'outer')
    outer.run(() => startSpan('send', 'inner').end())
    outer.end()
    const [inner, root] = exporter.getFinishedSpans()
    expect(root!.parentSpanContext).toBeUndefined()
    expect(inner!.parentSpanContext?.spanId).toBe(root!.spanContext().spanId)
    expect(inner!.kind).toBe(SpanKind.PRODUCER)
  })

  it('a span tells the error it ended with', () => {
    startSpan('send', 'flights').end({ code: 'NO_RESPONDERS', message: 'nobody answers' })
    const [span] = exporter.getFinishedSpans()
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'nobody answers' })
    expect(span!.attributes['error.type']).toBe('NO_RESPONDERS')
  })
})
