import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../test/support/nats.ts'
import { type Bus, connect, type EmbeddedNats, embeddedNats, MyelinError } from '../bus/internal.ts'
import { contract, stream } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const calc = contract('calc', {
  version: '1.0.0',
  endpoints: {
    add: { in: z.object({ a: z.number(), b: z.number() }), out: z.number(), idempotent: true },
    divide: {
      in: z.object({ a: z.number(), b: z.number() }),
      out: z.number(),
      errors: { BY_ZERO: z.object({ a: z.number() }) },
    },
    broken: { in: z.object({}), out: z.number() },
    rubbish: { in: z.object({}), out: z.number() },
    hang: { in: z.object({}), out: z.number(), timeoutMs: 200 },
    count: { in: z.object({ to: z.number() }), out: stream(z.number()) },
  },
})

let server: EmbeddedNats
let bus: Bus
let callers: Bus
let aborted = 0
beforeAll(async () => {
  server = await embeddedNats()
  bus = await connect({ servers: server.url })
  callers = await connect({ servers: server.url })
})
afterAll(async () => {
  await callers?.close()
  await bus?.close()
  await server?.stop()
})

const calcService = service(calc, {
  add: ({ a, b }) => a + b,
  divide: async ({ a, b }, { fail }) => (b === 0 ? fail('BY_ZERO', { a }) : a / b),
  broken: () => {
    throw new Error('secret detail')
  },
  rubbish: () => 'x' as unknown as number,
  hang: (_, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted += 1
        reject(new Error('stopped'))
      })
    }),
  async *count({ to }) {
    for (let i = 1; i <= to; i++) yield i
  },
})

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error) => (error instanceof MyelinError ? error.code : String(error)),
  )

describe('request/reply', () => {
  it('answers typed calls', async () => {
    await using _ = await serve(bus, calcService)
    const api = client(callers, calc)
    expect(await api.add({ a: 1, b: 2 })).toBe(3)
    expect(await api.divide({ a: 6, b: 3 })).toBe(2)
    const outcome = await api.divide.try({ a: 6, b: 0 })
    expect(outcome.ok).toBe(false)
    if (!outcome.ok) expect(outcome.error.data.a).toBe(6)
    expect(await codeOf(api.broken({}))).toBe('INTERNAL')
    expect(await codeOf(api.rubbish({}))).toBe('INTERNAL')
    expect(await codeOf(api.hang({}))).toBe('DEADLINE_EXCEEDED')
    await until(() => aborted === 1)
    expect(await codeOf(api.add({ a: 'x' as never, b: 2 }))).toBe('INVALID_INPUT')
    const items: number[] = []
    for await (const n of api.count({ to: 1000 })) items.push(n)
    expect(items.length).toBe(1000)
    expect(await api.add.gather({ a: 1, b: 1 }, { count: 1 })).toEqual([{ ok: true, value: 2 }])
  })
  it('fails at once when nobody answers', async () => {
    expect(await codeOf(client(callers, calc).add({ a: 1, b: 2 }))).toBe('NO_RESPONDERS')
  })
})
