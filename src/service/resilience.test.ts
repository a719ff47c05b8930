import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/index.ts'
import { client, serve, service } from './index.ts'

const nats = withNats()
const nothing = z.object({})
const busy = { errors: { OVERLOADED: nothing } } as const

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
    let second = Promise.withResolvers<void>()
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
    second = Promise.withResolvers()
    expect(await codeOf(api.get({}))).toBe('OVERLOADED')
    expect(calls).toBe(4)
  })
})
