import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { type MyelinError, now } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const nats = withNats()
const nothing = z.object({})

const inner = contract('inner', {
  version: '1.0.0',
  endpoints: {
    deadline: { in: nothing, out: z.number(), timeoutMs: 60_000 },
    hang: { in: nothing, out: z.number() },
  },
})
const outer = contract('outer', {
  version: '1.0.0',
  endpoints: {
    deadlines: { in: nothing, out: z.object({ outer: z.number(), inner: z.number() }) },
    shorter: { in: nothing, out: z.object({ outer: z.number(), inner: z.number() }) },
    hang: { in: nothing, out: z.number() },
  },
})

/** Both services, what hangs in them, and how it ended. */
async function running() {
  const hanging = { inner: 0, outer: 0 }
  const ended: { where: string; code: string }[] = []
  const waitForEnd = (where: 'inner' | 'outer', signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      hanging[where] += 1
      signal.addEventListener('abort', () => {
        ended.push({ where, code: (signal.reason as MyelinError).code })
        reject(signal.reason)
      })
    })
  const innerRunning = await serve(
    await nats.connect(),
    service(inner, {
      deadline: (_, { deadline }) => deadline,
      hang: (_, { signal }) => waitForEnd('inner', signal),
    }),
  )
  const outerRunning = await serve(
    await nats.connect(),
    service(outer, {
      deadlines: async (_, { deadline, client }) => ({ outer: deadline, inner: await client(inner).deadline({}) }),
      shorter: async (_, { deadline, client }) => ({
        outer: deadline,
        inner: await client(inner).deadline({}, { timeoutMs: 100 }),
      }),
      hang: async (_, { client, signal }) => {
        signal.addEventListener('abort', () => ended.push({ where: 'outer', code: signal.reason.code }))
        hanging.outer += 1
        return client(inner).hang({}, { timeoutMs: 60_000 })
      },
    }),
  )
  return {
    hanging,
    ended,
    inner: innerRunning,
    outer: outerRunning,
    [Symbol.asyncDispose]: async () => {
      await outerRunning.drain()
      await innerRunning.drain()
    },
  }
}

describe('cancelling a call', () => {
  it("is CANCELLED here and aborts the handler's signal there", async () => {
    await using services = await running()
    const abort = new AbortController()
    const call = codeOf(client(nats.bus, inner).hang({}, { signal: abort.signal, timeoutMs: 60_000 }))
    await until(() => services.hanging.inner === 1)
    abort.abort()
    expect(await call).toBe('CANCELLED')
    await until(() => services.ended.length === 1)
    expect(services.ended).toEqual([{ where: 'inner', code: 'CANCELLED' }])
    expect(services.inner.stats?.()).toMatchObject({ calls: 1, callErrors: 0 })
  })

  it('ends only the call it belongs to', async () => {
    await using services = await running()
    const aborts = [1, 2, 3].map(() => new AbortController())
    const calls = aborts.map(({ signal }) => codeOf(client(nats.bus, inner).hang({}, { signal, timeoutMs: 60_000 })))
    await until(() => services.hanging.inner === 3)
    aborts[1]!.abort()
    expect(await calls[1]).toBe('CANCELLED')
    await until(() => services.ended.length === 1)
    await nats.bus.flush()
    expect(services.ended.length).toBe(1)
    for (const abort of aborts) abort.abort()
    expect(await Promise.all(calls)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED'])
    await until(() => services.ended.length === 3)
  })

  it('before it was sent sends nothing', async () => {
    await using services = await running()
    expect(await codeOf(client(nats.bus, outer).hang({}, { signal: AbortSignal.abort() }))).toBe('CANCELLED')
    await nats.bus.flush()
    expect(services.outer.stats?.()).toMatchObject({ calls: 0 })
    expect(services.hanging.outer).toBe(0)
  })

  it('cancels the calls that its handler had made', async () => {
    await using services = await running()
    const abort = new AbortController()
    const call = codeOf(client(nats.bus, outer).hang({}, { signal: abort.signal, timeoutMs: 60_000 }))
    await until(() => services.hanging.inner === 1)
    abort.abort()
    expect(await call).toBe('CANCELLED')
    await until(() => services.ended.length === 2)
    expect(services.ended.map(({ where }) => where).sort()).toEqual(['inner', 'outer'])
    expect(new Set(services.ended.map(({ code }) => code))).toEqual(new Set(['CANCELLED']))
  })

  it('leaves the service free for other calls', async () => {
    await using services = await running()
    const one = contract('one', {
      version: '1.0.0',
      endpoints: { hold: { in: z.object({ hold: z.boolean() }), out: z.number(), maxInFlight: 1 } },
    })
    await using _ = await serve(
      nats.bus,
      service(one, {
        hold: ({ hold }, { signal }) =>
          hold
            ? new Promise<never>((_, reject) => {
                services.hanging.inner += 1
                signal.addEventListener('abort', () => reject(signal.reason))
              })
            : 1,
      }),
    )
    const abort = new AbortController()
    const call = codeOf(client(nats.bus, one).hold({ hold: true }, { signal: abort.signal }))
    await until(() => services.hanging.inner === 1)
    expect(await codeOf(client(nats.bus, one).hold({ hold: false }))).toBe('OVERLOADED')
    abort.abort()
    await call
    await until(async () => (await codeOf(client(nats.bus, one).hold({ hold: false }))) === 'none')
  })
})

describe('a deadline', () => {
  it("travels through nested calls: the inner one has the outer's time left, from its arrival", async () => {
    await using _ = await running()
    const before = now()
    const seen = await client(nats.bus, outer).deadlines({}, { timeoutMs: 20_000 })
    const absolute = await client(nats.bus, outer).deadlines({}, { deadline: before + 20_000, timeoutMs: 60_000 })
    const underWayMs = now() - before
    for (const { outer: at, inner } of [seen, absolute]) {
      expect(at).toBeGreaterThanOrEqual(before + 20_000)
      expect(inner).toBeGreaterThanOrEqual(at)
      expect(inner).toBeLessThanOrEqual(before + 20_000 + underWayMs + 2)
    }
  })

  it('shrinks where a nested call is given less time', async () => {
    await using _ = await running()
    const seen = await client(nats.bus, outer).shorter({}, { timeoutMs: 10_000 })
    expect(seen.inner).toBeLessThan(seen.outer)
    expect(seen.inner).toBeLessThanOrEqual(now() + 100)
  })

  it('that passes is DEADLINE_EXCEEDED for the caller and ends all handlers on the way', async () => {
    await using services = await running()
    const before = Date.now()
    expect(await codeOf(client(nats.bus, outer).hang({}, { timeoutMs: 200 }))).toBe('DEADLINE_EXCEEDED')
    expect(Date.now() - before).toBeGreaterThanOrEqual(200)
    await until(() => services.ended.length === 2)
    expect(services.ended.map(({ where }) => where).sort()).toEqual(['inner', 'outer'])
  })

  it('of the endpoint is taken when the caller names none', async () => {
    await using services = await running()
    const quick = contract('inner', {
      version: '1.0.0',
      endpoints: { hang: { in: nothing, out: z.number(), timeoutMs: 100 } },
    })
    expect(await codeOf(client(nats.bus, quick).hang({}))).toBe('DEADLINE_EXCEEDED')
    await until(() => services.ended.length === 1)
  })
})

describe('storing an event or a job on a server that does not answer', () => {
  it('ends with its deadline or signal', async () => {
    const kept = contract('keptcalls', {
      version: '1.0.0',
      events: { seen: { payload: z.object({ n: z.number() }), durable: true } },
      jobs: { run: { payload: z.object({ n: z.number() }) } },
    })
    const api = client(await nats.connect(), kept)
    await api.seen.publish({ n: 1 })
    const fresh = client(await nats.connect(), kept) // it has not looked at the streams yet
    process.kill(nats.server.pid, 'SIGSTOP')
    try {
      const started = performance.now()
      const abort = new AbortController()
      const waiting = [
        api.seen.publish({ n: 2 }, { timeoutMs: 200 }),
        api.seen.publish({ n: 3 }, { signal: abort.signal }),
        fresh.run.enqueue({ n: 4 }, { signal: abort.signal }),
        api.run.enqueue({ n: 5 }, { signal: abort.signal }),
      ].map((promise) => codeOf(promise as Promise<unknown>))
      setTimeout(() => abort.abort(), 200)
      expect(await Promise.all(waiting)).toEqual(['DEADLINE_EXCEEDED', 'CANCELLED', 'CANCELLED', 'CANCELLED'])
      expect(performance.now() - started).toBeLessThan(2_500)
    } finally {
      process.kill(nats.server.pid, 'SIGCONT')
    }
  })
})

describe('draining a service', () => {
  it('lets calls under way finish and takes no new ones', async () => {
    const slow = contract('slow', { version: '1.0.0', endpoints: { wait: { in: nothing, out: z.string() } } })
    const release = Promise.withResolvers<string>()
    let calls = 0
    await using service1 = await serve(
      await nats.connect(),
      service(slow, {
        wait: () => {
          calls += 1
          return release.promise
        },
      }),
    )
    const api = client(nats.bus, slow)
    const call = api.wait({})
    await until(() => calls === 1)
    const drained = service1.drain()
    await until(async () => (await codeOf(api.wait({}, { timeoutMs: 300 }))) === 'NO_RESPONDERS')
    release.resolve('finished')
    expect(await call).toBe('finished')
    await drained
  })
})
