import { context, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { type ClientMiddleware, client, type Middleware, on, serve, service } from './index.ts'

const nats = withNats()
const who = z.object({
  caller: z.string().optional(),
  tenant: z.string().optional(),
  traceparent: z.string().optional(),
})

const inner = contract('inner', {
  version: '1.0.0',
  endpoints: {
    who: { in: z.object({}), out: who },
    fail: { in: z.object({}), out: who, errors: { NO: z.object({}) } },
  },
})
const outer = contract('outer', {
  version: '1.0.0',
  endpoints: { who: { in: z.object({}), out: z.object({ here: who, there: who }) } },
  events: { posted: { payload: z.object({ n: z.number() }) } },
  jobs: { work: { payload: z.object({ n: z.number() }) } },
})
const innerService = service(inner, {
  who: (_, { caller, tenant, trace }) => ({ caller, tenant, traceparent: trace?.traceparent }),
  fail: (_, { fail }) => fail('NO', {}),
})
const outerService = service(outer, {
  who: async (_, { caller, tenant, trace, client }) => ({
    here: { caller, tenant, traceparent: trace?.traceparent },
    there: await client(inner).who({}),
  }),
  work: () => undefined,
})

describe("a service's middleware", () => {
  it('goes around calls, jobs and events, outermost first', async () => {
    const log: string[] = []
    const named =
      (label: string): Middleware =>
      async ({ kind, name, input }, next) => {
        log.push(`${label} before ${kind} ${name} ${JSON.stringify(input)}`)
        const result = await next()
        log.push(`${label} after`)
        return result
      }
    const all = contract('all', {
      version: '1.0.0',
      endpoints: { get: { in: z.object({ n: z.number().default(5) }), out: z.number() } },
      events: { posted: { payload: z.object({ n: z.number() }) } },
      jobs: { work: { payload: z.object({ n: z.number() }) } },
    })
    await using _ = await serve(
      nats.bus,
      service(all, {
        use: [named('outer'), named('inner')],
        on: [on(all, 'posted', {}, ({ n }) => void log.push(`event ${n}`))],
        get: ({ n }) => {
          log.push(`call ${n}`)
          return n
        },
        work: ({ n }) => void log.push(`job ${n}`),
      }),
    )
    const around = (kind: string, name: string, n: number) => [
      `outer before ${kind} ${name} {"n":${n}}`,
      `inner before ${kind} ${name} {"n":${n}}`,
      `${kind} ${n}`,
      'inner after',
      'outer after',
    ]
    const api = client(nats.bus, all)
    expect(await api.get({})).toBe(5)
    expect(log.splice(0)).toEqual(around('call', 'get', 5))
    await api.work.enqueue({ n: 2 })
    await until(() => log.length === 5)
    expect(log.splice(0)).toEqual(around('job', 'work', 2))
    await api.posted.publish({ n: 3 })
    await until(() => log.length === 5)
    expect(log.splice(0)).toEqual(around('event', 'all.posted', 3))
  })

  it('may answer itself, change the answer, or reject', async () => {
    const replacing: Middleware = async ({ name, context }, next) => {
      if (context.caller === 'cache') return { caller: 'from the cache' }
      if (context.caller === 'stranger') return context.fail('NO', {})
      const result = await next()
      return name === 'who' ? { caller: 'changed' } : result
    }
    let handled = 0
    await using _ = await serve(
      nats.bus,
      service(inner, {
        use: [replacing],
        who: () => {
          handled += 1
          return {}
        },
        fail: () => ({}),
      }),
    )
    expect(await client(nats.bus, inner, { caller: 'cache' }).who({})).toEqual({ caller: 'from the cache' })
    expect(await codeOf(client(nats.bus, inner, { caller: 'stranger' }).fail({}))).toBe('NO')
    expect(handled).toBe(0)
    expect(await client(nats.bus, inner).who({})).toEqual({ caller: 'changed' })
    expect(handled).toBe(1)
  })
})

describe("a client's middleware", () => {
  it('goes around every call, outermost first, and sees its failure', async () => {
    await using _ = await serve(nats.bus, innerService)
    const log: string[] = []
    const named =
      (label: string): ClientMiddleware =>
      async ({ service, endpoint }, next) => {
        log.push(`${label} before ${service}.${endpoint}`)
        try {
          return await next()
        } catch (error) {
          log.push(`${label} saw ${(error as { code?: string }).code}`)
          throw error
        }
      }
    const api = client(nats.bus, inner, { use: [named('outer'), named('inner')] })
    expect((await api.fail.try({})).ok).toBe(false)
    expect(log).toEqual(['outer before inner.fail', 'inner before inner.fail', 'inner saw NO', 'outer saw NO'])
  })

  it('may change the options of the call and answer from elsewhere', async () => {
    await using _ = await serve(nats.bus, innerService)
    const asTenant: ClientMiddleware = ({ options }, next) => {
      options.headers = { ...options.headers, 'Myelin-Tenant': 'acme' }
      return next()
    }
    expect(await client(nats.bus, inner, { use: [asTenant] }).who({})).toMatchObject({ tenant: 'acme' })
    const cached: ClientMiddleware = async () => ({ caller: 'nobody was asked' })
    expect(await client(nats.bus, inner, { use: [cached] }).who({})).toEqual({ caller: 'nobody was asked' })
  })
})

describe('what travels with a call', () => {
  it('is its caller, its tenant and its trace, on through nested calls', async () => {
    await using _inner = await serve(nats.bus, innerService)
    await using _outer = await serve(nats.bus, outerService)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const api = client(nats.bus, outer, { caller: 'check-in', tenant: 'acme' })
    const { here, there } = await api.who({}, { headers: { traceparent } })
    expect(here).toEqual({ caller: 'check-in', tenant: 'acme', traceparent })
    expect(there).toEqual({ caller: 'outer', tenant: 'acme', traceparent })
  })
})

describe('tracing with OpenTelemetry', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  beforeAll(() => {
    trace.setGlobalTracerProvider(provider)
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  })
  afterAll(async () => {
    await provider.shutdown()
    trace.disable()
    context.disable()
  })

  const find = (name: string, kind: SpanKind = SpanKind.INTERNAL) =>
    exporter.getFinishedSpans().find((span) => span.name === name && span.kind === kind)!

  it('makes the span of each call the parent of the span of its handling, across a nested call', async () => {
    await using _inner = await serve(nats.bus, innerService)
    await using _outer = await serve(nats.bus, outerService)
    exporter.reset()
    await trace.getTracer('test').startActiveSpan('test', async (span) => {
      await client(nats.bus, outer).who({})
      span.end()
    })
    await until(() => exporter.getFinishedSpans().length === 5)
    const chain = [
      ['test', SpanKind.INTERNAL],
      ['outer/who', SpanKind.CLIENT],
      ['outer/who', SpanKind.SERVER],
      ['inner/who', SpanKind.CLIENT],
      ['inner/who', SpanKind.SERVER],
    ] as const
    const spans = chain.map(([name, kind]) => find(name, kind))
    expect(spans.map((span) => span.parentSpanContext?.spanId)).toEqual([
      undefined,
      ...spans.slice(0, -1).map((span) => span.spanContext().spanId),
    ])
    expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1)
    expect(spans[1]!.attributes).toMatchObject({
      'rpc.system': 'nats',
      'rpc.service': 'outer',
      'rpc.method': 'who',
    })
  })

  it("makes a handler's own spans children of the call, and marks spans of failed calls with their code", async () => {
    await using _ = await serve(
      nats.bus,
      service(inner, {
        who: async () => {
          await new Promise((resolve) => setImmediate(resolve))
          trace.getTracer('test').startSpan('query').end()
          return {}
        },
        fail: (_input, { fail }) => fail('NO', {}),
      }),
    )
    exporter.reset()
    const api = client(nats.bus, inner)
    await api.who({})
    await codeOf(api.fail({}))
    await until(() => exporter.getFinishedSpans().length === 5)
    expect(find('query').parentSpanContext?.spanId).toBe(find('inner/who', SpanKind.SERVER).spanContext().spanId)
    for (const kind of [SpanKind.CLIENT, SpanKind.SERVER])
      expect(find('inner/fail', kind).attributes['error.type']).toBe('NO')
  })
})
