import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/index.ts'
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
    const attempt = (name: keyof typeof calls, fail: (code: 'OVERLOADED', data: object) => never) => {
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

describe('the circuit breaker', () => {
  const fragile = contract('fragile', {
    version: '1.0.0',
    endpoints: {
      get: { in: nothing, out: z.number(), resilience: { breaker: { failures: 3, forMs: 1_000 } } },
      declared: {
        in: nothing,
        out: z.number(),
        errors: { UNKNOWN: nothing },
        resilience: { breaker: { failures: 2, forMs: 60_000 } },
      },
    },
  })

  it('opens after failures in a row, spares the service, and closes again when it is well', async () => {
    let calls = 0
    let well = false
    await using _ = await serve(
      nats.bus,
      service(fragile, {
        get: () => {
          calls += 1
          if (!well) throw new Error('unwell')
          return calls
        },
        declared: () => 0,
      }),
    )
    const api = client(nats.bus, fragile)
    for (let i = 0; i < 3; i++) expect(await codeOf(api.get({}))).toBe('INTERNAL')
    expect(await codeOf(api.get({}))).toBe('CIRCUIT_OPEN')
    expect(await codeOf(api.get({}))).toBe('CIRCUIT_OPEN')
    expect(calls).toBe(3)
    well = true
    await until(async () => (await codeOf(api.get({}))) === 'none')
    expect(calls).toBe(4) // one trial call, and it closed
    expect(await api.get({})).toBe(5)
  })

  it('takes an answer that the contract declares for what it is: no failure', async () => {
    await using _ = await serve(
      nats.bus,
      service(fragile, { get: () => 0, declared: (_, { fail }) => fail('UNKNOWN', {}) }),
    )
    const api = client(nats.bus, fragile)
    for (let i = 0; i < 5; i++) expect(await codeOf(api.declared({}))).toBe('UNKNOWN')
  })

  it('opens for one endpoint only', async () => {
    await using _ = await serve(
      nats.bus,
      service(fragile, {
        get: () => 1,
        declared: () => {
          throw new Error('unwell')
        },
      }),
    )
    const api = client(nats.bus, fragile)
    for (let i = 0; i < 2; i++) await codeOf(api.declared({}))
    expect(await codeOf(api.declared({}))).toBe('CIRCUIT_OPEN')
    expect(await api.get({})).toBe(1)
  })
})

describe('the bulkhead', () => {
  it("refuses a client's calls beyond its limit with OVERLOADED and lets them in again", async () => {
    const narrow = contract('narrow', {
      version: '1.0.0',
      endpoints: { get: { in: nothing, out: z.number(), resilience: { bulkhead: 2 } } },
    })
    const release = Promise.withResolvers<number>()
    let calls = 0
    await using _ = await serve(
      nats.bus,
      service(narrow, {
        get: () => {
          calls += 1
          return release.promise
        },
      }),
    )
    const api = client(nats.bus, narrow)
    const held = [api.get({}), api.get({})]
    expect(await codeOf(api.get({}))).toBe('OVERLOADED')
    await until(() => calls === 2)
    release.resolve(1)
    expect(await Promise.all(held)).toEqual([1, 1])
    expect(await api.get({})).toBe(1)
    expect(calls).toBe(3)
  })
})

describe('hedging', () => {
  it('asks a second time when the first is slow, takes the first answer, and cancels the other', async () => {
    const hedged = contract('hedged', {
      version: '1.0.0',
      endpoints: {
        get: { in: nothing, out: z.number(), idempotent: true, resilience: { hedgeAfterMs: 30 } },
        quick: { in: nothing, out: z.number(), idempotent: true, resilience: { hedgeAfterMs: 60_000 } },
      },
    })
    let calls = 0
    let quick = 0
    let cancelled = 0
    await using _ = await serve(
      nats.bus,
      service(hedged, {
        get: (_, { signal }) => {
          calls += 1
          if (calls > 1) return calls
          return new Promise<never>((_, reject) => {
            signal.addEventListener('abort', () => {
              cancelled += 1
              reject(signal.reason)
            })
          })
        },
        quick: () => ++quick,
      }),
    )
    const api = client(nats.bus, hedged)
    expect(await api.get({})).toBe(2)
    await until(() => cancelled === 1)
    expect(calls).toBe(2)
    expect(await api.quick({})).toBe(1) // a quick answer needs no second request
    await nats.bus.flush()
    expect(quick).toBe(1)
  })

  it('takes the second answer when the first request fails late, and fails only when both do', async () => {
    const hedged = contract('hedged', {
      version: '1.0.0',
      endpoints: {
        get: { in: nothing, out: z.number(), idempotent: true, resilience: { hedgeAfterMs: 20, retries: 0 }, ...busy },
      },
    })
    const second = Promise.withResolvers<void>()
    let calls = 0
    let answers = true
    await using _ = await serve(
      nats.bus,
      service(hedged, {
        get: async (_, { fail }) => {
          calls += 1
          const first = calls % 2 === 1
          if (first) await second.promise
          else second.resolve()
          return first || !answers ? fail('OVERLOADED', {}) : calls
        },
      }),
    )
    const api = client(nats.bus, hedged)
    expect(await api.get({})).toBe(2)
    answers = false
    expect(await codeOf(api.get({}))).toBe('OVERLOADED')
  })
})
