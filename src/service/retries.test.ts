import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'
import { RetryBudget } from './resilience.ts'

const nats = withNats()
const nothing = z.object({})
const busy = { errors: { OVERLOADED: nothing } } as const

describe('retries', () => {
  const flaky = contract('flaky', {
    version: '1.0.0',
    endpoints: {
      get: { in: nothing, out: z.number(), idempotent: true, ...busy },
      put: { in: nothing, out: z.number(), ...busy },
      once: { in: nothing, out: z.number(), idempotent: true, resilience: { retries: 0 }, ...busy },
      broken: { in: nothing, out: z.number(), idempotent: true },
    },
  })

  /** The service fails so many times, then answers. */
  async function failing(times: number) {
    const calls = { get: 0, put: 0, once: 0, broken: 0 }
    const attempt = (name: keyof typeof calls, fail: (code: 'OVERLOADED', data: Record<string, never>) => never) => {
      calls[name] += 1
      return calls[name] <= times ? fail('OVERLOADED', {}) : calls[name]
    }
    const running = await serve(
      nats.bus,
      service(flaky, {
        get: (_, { fail }) => attempt('get', fail),
        put: (_, { fail }) => attempt('put', fail),
        once: (_, { fail }) => attempt('once', fail),
        broken: () => {
          calls.broken += 1
          throw new Error('broken')
        },
      }),
    )
    return { calls, [Symbol.asyncDispose]: () => running.drain() }
  }

  it('repeat an idempotent call after a failure that may pass', async () => {
    await using flakyService = await failing(2)
    expect(await client(nats.bus, flaky).get({})).toBe(3)
    expect(flakyService.calls.get).toBe(3)
  })

  it('give up after as many as the contract says and fail with the last failure', async () => {
    await using flakyService = await failing(100)
    expect(await codeOf(client(nats.bus, flaky).get({}))).toBe('OVERLOADED')
    expect(flakyService.calls.get).toBe(3)
    expect(await codeOf(client(nats.bus, flaky).once({}))).toBe('OVERLOADED')
    expect(flakyService.calls.once).toBe(1)
  })

  it('never repeat a call that is not idempotent', async () => {
    await using flakyService = await failing(1)
    expect(await codeOf(client(nats.bus, flaky).put({}))).toBe('OVERLOADED')
    expect(flakyService.calls.put).toBe(1)
  })

  it('never repeat a failure that will not pass, nor a call that nobody answers', async () => {
    {
      await using flakyService = await failing(0)
      expect(await codeOf(client(nats.bus, flaky).broken({}))).toBe('INTERNAL')
      expect(flakyService.calls).toMatchObject({ broken: 1 })
    }
    expect(await codeOf(client(nats.bus, flaky).get({}))).toBe('NO_RESPONDERS')
  })

  it("stay within the call's deadline", async () => {
    await using _ = await failing(1_000)
    const abort = new AbortController()
    const cancelled = client(nats.bus, flaky).get({}, { signal: abort.signal })
    abort.abort()
    expect(await codeOf(cancelled)).toBe('CANCELLED')
    expect(['OVERLOADED', 'DEADLINE_EXCEEDED']).toContain(
      await codeOf(client(nats.bus, flaky).get({}, { timeoutMs: 30 })),
    )
  })

  it('do not outlast the deadline or the signal in their pauses', async () => {
    const patient = contract('patient', {
      version: '1.0.0',
      endpoints: { get: { in: nothing, out: z.number(), idempotent: true, resilience: { retries: 100 }, ...busy } },
    })
    await using _ = await serve(nats.bus, service(patient, { get: (_, { fail }) => fail('OVERLOADED', {}) }))
    const fresh = () => client(nats.bus, patient, { retryRatio: 1_000 })
    const before = performance.now()
    expect(['OVERLOADED', 'DEADLINE_EXCEEDED']).toContain(await codeOf(fresh().get({}, { timeoutMs: 500 })))
    const abort = new AbortController()
    setTimeout(() => abort.abort(), 500)
    expect(await codeOf(fresh().get({}, { timeoutMs: 60_000, signal: abort.signal }))).toBe('CANCELLED')
    expect(performance.now() - before).toBeLessThan(3_000)
  })

  it('are bounded by a budget: a service that fails is not called much more often for it', async () => {
    await using flakyService = await failing(Number.POSITIVE_INFINITY)
    const api = client(nats.bus, flaky)
    for (let sent = 0; sent < 200; sent += 50) {
      const codes = await Promise.all(Array.from({ length: 50 }, () => codeOf(api.get({}))))
      expect(new Set(codes)).toEqual(new Set(['OVERLOADED']))
    }
    const retries = flakyService.calls.get - 200
    expect(retries).toBeGreaterThanOrEqual(10)
    expect(retries).toBeLessThanOrEqual(10 + 200 * 0.2) // what there is at first, and what 200 calls earn
  })

  it('are given back to the budget by calls, at its ratio and up to its bound', () => {
    const budget = new RetryBudget(0.5)
    for (let spent = 0; spent < 10; spent++) expect(budget.spend()).toBe(true)
    expect(budget.spend()).toBe(false)
    budget.earn()
    expect(budget.spend()).toBe(false)
    budget.earn()
    expect(budget.spend()).toBe(true)
    for (let calls = 0; calls < 10_000; calls++) budget.earn()
    let saved = 0
    while (budget.spend()) saved += 1
    expect(saved).toBeLessThanOrEqual(101)
  })
})
