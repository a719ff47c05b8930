import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { withNats } from '../../test/support/nats.ts'
import {
  type HeaderReader,
  inTrace,
  messagingSpan,
  outgoingTrace,
  readHeaders,
  rpcSpan,
  type TraceContext,
  traceLines,
  traceOf,
  tracingOn,
} from './internal.ts'

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

describe('a traceparent', () => {
  const spanId = 'b7ad6b7169203331'
  const good = `00-${traceId}-${spanId}-01`
  const read = (...lines: string[]) => {
    const bytes = Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`)
    return traceOf(readHeaders({ _rdata: bytes, _msg: { hdr: bytes.length } } as never))
  }

  it.each([
    ['of version 00', good, good],
    ['that is not sampled', `00-${traceId}-${spanId}-00`, `00-${traceId}-${spanId}-00`],
    ['of a version to come', `cc-${traceId}-${spanId}-01`, good],
    ['of a version to come, with more after it', `cc-${traceId}-${spanId}-01-what-the-future-brings`, good],
    ['of a version to come, with flags unknown here', `01-${traceId}-${spanId}-fe`, `00-${traceId}-${spanId}-00`],
    ['with blanks around it', ` \t${good} `, good],
  ])('%s is understood', (_, traceparent, expected) => {
    expect(read(`traceparent:${traceparent}`)).toEqual({ traceparent: expected, tracestate: undefined })
  })

  it.each([
    ['of the version that is none', `ff-${traceId}-${spanId}-01`],
    ['of version 00 with more after it', `${good}-more`],
    ['with something behind it', `${good}x`],
    ['of a version to come with something behind it', `cc-${traceId}-${spanId}-01x`],
    ['of a version to come with a dot behind it', `cc-${traceId}-${spanId}-01.what`],
    ['of no trace', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['of no span', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['in capitals', good.toUpperCase()],
    ['with a capital', `00-${traceId.replace('a', 'A')}-${spanId}-01`],
    ['with capital flags', `00-${traceId}-${spanId}-0A`],
    ['without flags', `00-${traceId}-${spanId}`],
    ['with a trace id that is short', `00-${traceId.slice(1)}-${spanId}-01`],
    ['with a letter that is none', `00-${traceId.slice(1)}g-${spanId}-01`],
    ['with one digit of version', `0-${traceId}-${spanId}-01`],
    ['with blanks inside', `00-${traceId} -${spanId}-01`],
    ['that is empty', ''],
  ])('%s is left behind, and its tracestate with it', (_, traceparent) => {
    expect(read(`traceparent:${traceparent}`, 'tracestate:vendor=1')).toBeUndefined()
  })

  it('that is there twice is left behind, in whatever capitals', () => {
    expect(read(`traceparent:${good}`, `traceparent:${good}`)).toBeUndefined()
    expect(read(`traceparent:${good}`, `Traceparent:00-${traceId}-${spanId}-00`)).toBeUndefined()
    expect(read(`TraceParent:${good}`)?.traceparent).toBe(good)
  })

  it.each([
    ['several lines are one list', ['a=1', 'b=2,c=3'], 'a=1,b=2,c=3'],
    ['blanks and empty members are left out', [' a=1 ,\t, b=2', ''], 'a=1,b=2'],
    ['tenants, and all that a value may hold', ['0t@v-1=a !+-<>~:/'], '0t@v-1=a !+-<>~:/'],
    [
      '32 members',
      [Array.from({ length: 32 }, (_, i) => `k${i}=v`).join(',')],
      Array.from({ length: 32 }, (_, i) => `k${i}=v`).join(','),
    ],
    ['33 members are too many', [Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(',')], undefined],
    ['a key in capitals', ['A=1'], undefined],
    ['a key with a blank', ['a =1'], undefined],
    ['a value with an equals sign', ['a=1=2'], undefined],
    ['no value', ['a='], undefined],
    ['a key that is too long', [`${'k'.repeat(257)}=1`], undefined],
    ['a value that is too long', [`k=${'v'.repeat(257)}`], undefined],
  ])('keeps its tracestate: %s', (_, lines, expected) => {
    const names = ['tracestate', 'TraceState', 'TRACESTATE']
    const reported = read(`traceparent:${good}`, ...lines.map((line, i) => `${names[i]}:${line}`))
    expect(reported).toEqual({ traceparent: good, tracestate: expected })
  })
})

describe('without an OpenTelemetry SDK', () => {
  it('tracing is off, and what is sent passes the trace of its work on', () => {
    expect(tracingOn()).toBe(false)
    expect(outgoingTrace(incoming)).toBe(incoming)
    expect(outgoingTrace(undefined)).toBeUndefined()
    expect(inTrace(incoming, () => 'done')).toBe('done')
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

  const spanOf = (destination: string, parent?: TraceContext) =>
    messagingSpan('process', { destination, subject: destination }, parent)

  it('a span is the child of the incoming trace, and what follows is the child of the span', () => {
    expect(tracingOn()).toBe(true)
    const about = { destination: 'evt.shop.sold', subject: 'evt.shop.sold.a', id: 'order-1', group: 'crew' }
    const traced = messagingSpan('process', about, incoming)
    traced.end()
    const [span] = exporter.getFinishedSpans()
    expect(span!.spanContext().traceId).toBe(traceId)
    expect(span!.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
    expect(traced.trace).toEqual({
      traceparent: `00-${traceId}-${span!.spanContext().spanId}-01`,
      tracestate: 'vendor=1',
    })
    expect(span).toMatchObject({ name: 'process evt.shop.sold', kind: SpanKind.CONSUMER })
    expect(span!.attributes).toEqual({
      'messaging.system': 'nats',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'evt.shop.sold.a',
      'messaging.destination.template': 'evt.shop.sold.{key}',
      'messaging.message.id': 'order-1',
      'messaging.consumer.group.name': 'crew',
    })
  })

  it('calls are spans of a client and a server, named by what is called', () => {
    const client = rpcSpan('client', 'airports', 'get', 'svc.airports.get', undefined)
    rpcSpan('server', 'airports', 'get', 'svc.airports.get', client.trace).end()
    client.end()
    const [server, caller] = exporter.getFinishedSpans()
    expect(caller).toMatchObject({ name: 'airports/get', kind: SpanKind.CLIENT })
    expect(server).toMatchObject({ name: 'airports/get', kind: SpanKind.SERVER })
    expect(server!.attributes).toMatchObject({ 'rpc.system': 'nats', 'rpc.service': 'airports', 'rpc.method': 'get' })
    expect(server!.parentSpanContext?.spanId).toBe(caller!.spanContext().spanId)
  })

  it('a trace that is not well formed is left behind, and a new one begins', () => {
    for (const traceparent of ['', 'rubbish', `00-${traceId}`, `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
      spanOf('flights', { traceparent }).end()
      const span = exporter.getFinishedSpans().at(-1)!
      expect(span.parentSpanContext).toBeUndefined()
      expect(span.spanContext().traceId).not.toBe(traceId)
    }
  })

  it("the user's own spans become children, also after an await", async () => {
    const traced = spanOf('flights', incoming)
    await traced.run(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      trace.getTracer('user').startSpan('own').end()
    })
    traced.end()
    const [own, span] = exporter.getFinishedSpans()
    expect(own!.parentSpanContext?.spanId).toBe(span!.spanContext().spanId)
  })

  it('what is sent is the child of the active span, else of its work; what arrives without a trace begins one', () => {
    const outer = spanOf('outer')
    const sent = { destination: 'inner', subject: 'inner' }
    outer.run(() => {
      messagingSpan('send', sent, incoming).end()
      spanOf('arrived').end()
    })
    outer.end()
    messagingSpan('send', sent, incoming).end()
    const [inner, arrived, root, later] = exporter.getFinishedSpans()
    expect(root!.parentSpanContext).toBeUndefined()
    expect(inner!.parentSpanContext?.spanId).toBe(root!.spanContext().spanId)
    expect(inner!.kind).toBe(SpanKind.PRODUCER)
    expect(arrived!.parentSpanContext).toBeUndefined()
    expect(later!.spanContext().traceId).toBe(traceId)
  })

  it('a span tells the error it ended with', () => {
    spanOf('flights').end({ code: 'NO_RESPONDERS', message: 'nobody answers' })
    const [span] = exporter.getFinishedSpans()
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'nobody answers' })
    expect(span!.attributes['error.type']).toBe('NO_RESPONDERS')
  })
})
