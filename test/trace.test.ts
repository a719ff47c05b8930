// One trace from a call through everything that follows from it, as an SDK's exporter sees it.
import { context, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { consume, type StreamMessage, traceOf } from '../src/bus/internal.ts'
import { contract, stream } from '../src/contract/index.ts'
import { client, on, serve, service } from '../src/service/index.ts'
import { count, event, job, processor, view } from '../src/stream/index.ts'
import { until, withNats } from './support/nats.ts'

const Flight = z.object({ id: z.string(), delay: z.number() })
const airline = contract('airline', {
  version: '1.0.0',
  endpoints: {
    depart: { in: Flight, out: z.string() },
    list: { in: z.object({}), out: stream(z.number()) },
  },
  events: { departed: { payload: Flight, key: 'id', durable: true }, seen: { payload: Flight } },
  jobs: { rebook: { payload: Flight, attempts: 3, backoff: { from: 10, to: 10 } } },
})
const late = processor(
  'late',
  { from: event(airline, 'departed'), to: view('delays', { key: 'id' }), checkpointMs: 50 },
  (departed) =>
    departed
      .branch(
        ({ delay }) => delay > 15,
        (delayed) => delayed.to(job(airline, 'rebook')),
      )
      .keyBy(({ id }) => id)
      .aggregate({ n: count() }),
)

describe('a trace', () => {
  const nats = withNats()
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(provider)
  })
  beforeEach(() => exporter.reset())
  afterAll(async () => {
    await provider.shutdown()
    trace.disable()
    context.disable()
  })

  const spans = () => exporter.getFinishedSpans()
  const find = (name: string, kind: SpanKind) => spans().filter((span) => span.name === name && span.kind === kind)
  const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId
  const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId
  const inSpan = async (work: () => Promise<unknown>) => {
    const root = trace.getTracer('test').startSpan('root')
    await context.with(trace.setSpan(context.active(), root), work)
    root.end()
    return root.spanContext()
  }

  it('is one from a call through an event and a processor to a job and its retries', async () => {
    let tries = 0
    const unit = service(airline, {
      depart: async (flight, { client }) => {
        await client(airline).departed.publish(flight)
        return 'off'
      },
      list: function* () {},
      rebook: () => {
        tries += 1
        if (tries < 3) throw new Error('no seat')
      },
    })
    await using _ = await serve(nats.bus, unit)
    await using __ = await serve(nats.bus, late)
    const root = await inSpan(() => client(nats.bus, airline).depart({ id: 'DL1', delay: 20 }))
    await until(() => find('process job.airline.rebook', SpanKind.CONSUMER).length === 3)
    expect(new Set(spans().map((span) => span.spanContext().traceId))).toEqual(new Set([root.traceId]))
    const chain = [
      ...find('airline/depart', SpanKind.CLIENT),
      ...find('airline/depart', SpanKind.SERVER),
      ...find('send evt.airline.departed', SpanKind.PRODUCER),
      ...find('send job.airline.rebook', SpanKind.PRODUCER),
    ]
    expect(chain.map(parentOf)).toEqual([root.spanId, ...chain.slice(0, -1).map(idOf)])
    // every try is the child of what put the job there
    const processed = find('process job.airline.rebook', SpanKind.CONSUMER)
    expect(processed.map(parentOf)).toEqual(Array(3).fill(idOf(chain.at(-1))))
    expect(processed.map((span) => span.status.message ?? 'done')).toEqual(['no seat', 'no seat', 'done'])
    // and a row that the one event led to
    let row: StreamMessage | undefined
    const reader = await consume(nats.bus, {
      stream: 'VIEW_delays',
      onMessage: (message) => {
        row = message
      },
    })
    await until(() => row !== undefined)
    await reader.stop()
    expect(traceOf(row!.headers)?.traceparent).toBe(`00-${root.traceId}-${idOf(chain[2])}-01`)
  })

  it('goes out with events, jobs, streamed calls and gathering outside of handlers as well', async () => {
    const heard: (string | undefined)[] = []
    const unit = service(airline, {
      depart: (_, { trace }) => trace?.traceparent ?? 'none',
      list: function* () {
        yield 1
      },
      rebook: (_, { trace }) => void heard.push(trace?.traceparent),
      on: [on(airline, 'seen', {}, (_, { trace }) => void heard.push(trace?.traceparent))],
    })
    await using _ = await serve(nats.bus, unit)
    const api = client(nats.bus, airline)
    const flight = { id: 'DL2', delay: 0 }
    const root = await inSpan(async () => {
      await api.seen.publish(flight)
      await api.rebook.enqueue(flight)
      for await (const _ of api.list({}));
      const [reply] = await api.depart.gather(flight, { count: 1 })
      heard.push((reply as { value: string }).value)
    })
    await until(() => heard.length === 3 && spans().length === 9)
    for (const traceparent of heard) expect(traceparent).toContain(root.traceId)
    for (const [name, out, into] of [
      ['evt.airline.seen', SpanKind.PRODUCER, SpanKind.CONSUMER],
      ['job.airline.rebook', SpanKind.PRODUCER, SpanKind.CONSUMER],
      ['airline/list', SpanKind.CLIENT, SpanKind.SERVER],
      ['airline/depart', SpanKind.CLIENT, SpanKind.SERVER],
    ] as const) {
      const [sent] = find(name.includes('/') ? name : `send ${name}`, out)
      const [handled] = find(name.includes('/') ? name : `process ${name}`, into)
      expect([name, parentOf(sent!), parentOf(handled!)]).toEqual([name, root.spanId, idOf(sent)])
    }
    const { headerLines } = await context.with(trace.setSpanContext(context.active(), root), async () =>
      api.departed.encode(flight),
    )
    expect(headerLines).toContain(`traceparent:00-${root.traceId}-${root.spanId}-01`)
  })

  it('ends its spans with the code of what failed', async () => {
    const api = client(nats.bus, airline)
    await expect(api.departed.publish({ id: 'a b', delay: 0 })).rejects.toThrow()
    await expect(api.depart.gather({ id: 'DL3', delay: 0 })).rejects.toThrow()
    await expect(api.list({}).next()).rejects.toThrow()
    const reported = spans().map((span) => [span.name, span.attributes['error.type']])
    expect(reported).toEqual([
      ['airline/depart', 'NO_RESPONDERS'],
      ['airline/list', 'NO_RESPONDERS'],
    ])
  })
})
