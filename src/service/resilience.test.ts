import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
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

describe('a trial call of a half-open breaker', () => {
  const sick = contract('sick', {
    version: '1.0.0',
    endpoints: {
      get: { in: z.object({ n: z.number() }), out: z.number(), resilience: { breaker: { failures: 1, forMs: 50 } } },
    },
  })

  /** A client whose breaker is half open towards a service that does not answer, and how often that was asked. */
  async function halfOpen() {
    const seen = { calls: 0 }
    let answer = async (_signal: AbortSignal): Promise<number> => Promise.reject(new Error('unwell'))
    const running = await serve(
      nats.bus,
      service(sick, {
        get: (_, { signal }) => {
          seen.calls += 1
          return answer(signal)
        },
      }),
    )
    const api = client(nats.bus, sick)
    expect(await codeOf(api.get({ n: 1 }))).toBe('INTERNAL')
    expect(await codeOf(api.get({ n: 1 }))).toBe('CIRCUIT_OPEN')
    answer = (signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    await new Promise((resolve) => setTimeout(resolve, 60))
    seen.calls = 0
    return {
      api,
      seen,
      answerWith: (n: number) => {
        answer = async () => n
      },
      [Symbol.asyncDispose]: () => running.drain(),
    }
  }
  const settled = (promises: Promise<unknown>[]) => Promise.all(promises.map(codeOf))

  it('keeps nobody who waits behind it from its own deadline and signal', async () => {
    await using half = await halfOpen()
    const trial = codeOf(half.api.get({ n: 1 }, { timeoutMs: 2_000 }))
    const abort = new AbortController()
    const before = performance.now()
    const waiting = settled([
      half.api.get({ n: 1 }, { timeoutMs: 100 }),
      half.api.get({ n: 1 }, { signal: abort.signal, timeoutMs: 4_000 }),
    ])
    setTimeout(() => abort.abort(), 100)
    expect(await waiting).toEqual(['DEADLINE_EXCEEDED', 'CANCELLED'])
    expect(performance.now() - before).toBeLessThan(1_500)
    expect(half.seen.calls).toBe(1)
    expect(await trial).toBe('DEADLINE_EXCEEDED')
  })

  it.each(['is cancelled', "fails for its caller's own fault"])(
    'that %s is no proof: the next is the trial',
    async (how) => {
      await using half = await halfOpen()
      const abort = new AbortController()
      const input = how === 'is cancelled' ? { n: 1 } : ({ n: 'x' } as never)
      const trial = codeOf(half.api.get(input, { signal: abort.signal }))
      const waiting = settled(Array.from({ length: 10 }, () => half.api.get({ n: 1 }, { timeoutMs: 300 })))
      if (how === 'is cancelled') await until(() => half.seen.calls === 1)
      abort.abort()
      expect(['CANCELLED', 'INVALID_INPUT']).toContain(await trial)
      expect(new Set(await waiting)).toEqual(new Set(['DEADLINE_EXCEEDED']))
      // the first trial, and the first of those that waited
      expect(half.seen.calls).toBeLessThanOrEqual(how === 'is cancelled' ? 2 : 1)
    },
  )

  it('that is answered lets in those who waited', async () => {
    await using half = await halfOpen()
    half.answerWith(7)
    expect(await Promise.all([half.api.get({ n: 1 }), half.api.get({ n: 1 }), half.api.get({ n: 1 })])).toEqual([
      7, 7, 7,
    ])
  })
})

describe('policies of the calls that handlers make', () => {
  const inner = contract('inner', {
    version: '1.0.0',
    endpoints: {
      fails: { in: nothing, out: z.number(), resilience: { breaker: { failures: 3, forMs: 60_000 } } },
      slow: { in: nothing, out: z.number(), resilience: { bulkhead: 2 } },
      busy: { in: nothing, out: z.number(), idempotent: true, ...busy },
    },
  })
  const outer = contract('outer', {
    version: '1.0.0',
    endpoints: { ask: { in: z.object({ what: z.enum(['fails', 'slow', 'busy']) }), out: z.string() } },
  })

  it('count over all work of a unit: the breaker opens, the bulkhead is full, and retries stay in their budget', async () => {
    const calls = { fails: 0, slow: 0, busy: 0 }
    const release = Promise.withResolvers<number>()
    await using _inner = await serve(
      nats.bus,
      service(inner, {
        fails: () => {
          calls.fails += 1
          throw new Error('unwell')
        },
        slow: () => {
          calls.slow += 1
          return release.promise
        },
        busy: (_, { fail }) => {
          calls.busy += 1
          return fail('OVERLOADED', {})
        },
      }),
    )
    await using _outer = await serve(
      await nats.connect(),
      service(outer, { ask: ({ what }, { client }) => codeOf(client(inner)[what]({})) }),
    )
    const api = client(nats.bus, outer)
    const asked = async (what: 'fails' | 'slow' | 'busy', times: number) =>
      Promise.all(Array.from({ length: times }, () => api.ask({ what })))
    for (let n = 0; n < 3; n++) expect(await api.ask({ what: 'fails' })).toBe('INTERNAL')
    expect(await asked('fails', 5)).toEqual(Array(5).fill('CIRCUIT_OPEN'))
    expect(calls.fails).toBe(3)

    const slow = asked('slow', 5)
    await until(() => calls.slow === 2)
    release.resolve(1)
    expect((await slow).toSorted()).toEqual(['OVERLOADED', 'OVERLOADED', 'OVERLOADED', 'none', 'none'])

    expect(new Set(await asked('busy', 60))).toEqual(new Set(['OVERLOADED']))
    expect(calls.busy - 60).toBeLessThanOrEqual(10 + 60 * 0.2)
  })
})

describe('the bulkhead', () => {
  it("rejects a client's calls beyond its limit with OVERLOADED and lets them in again", async () => {
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
