// The system's clock is set, or differs between two hosts: what is measured in time goes on as if nothing had happened.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { connect, embeddedNats, header, headerLines, now } from '../bus/internal.ts'
import { contract, stream } from '../contract/internal.ts'
import { serve } from '../unit/internal.ts'
import { client, service } from './index.ts'

const hourMs = 3_600_000
const realNow = Date.now
/** Sets the clock of this process. */
const setClock = (byMs: number) => vi.spyOn(Date, 'now').mockImplementation(() => realNow() + byMs)
afterEach(() => void vi.restoreAllMocks())

const slow = contract('slow', {
  version: '1.0.0',
  endpoints: {
    after: { in: z.object({ ms: z.number() }), out: z.object({ remainingMs: z.number() }) },
    each: { in: z.object({ ms: z.number() }), out: stream(z.number()) },
  },
})
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const slowService = service(slow, {
  after: async ({ ms }, { remainingMs }) => {
    await sleep(ms)
    return { remainingMs }
  },
  async *each({ ms }) {
    for (let i = 0; i < 4; i++) {
      yield i
      await sleep(ms)
    }
  },
})

describe('a call', () => {
  const nats = withNats()

  it('is answered though the clock is set forward by an hour meanwhile', async () => {
    await using _ = await serve(nats.bus, slowService)
    const api = client(nats.bus, slow)
    const answer = api.after({ ms: 300 }, { timeoutMs: 10_000 })
    const items = (async () => {
      const all: number[] = []
      for await (const item of api.each({ ms: 100 }, { timeoutMs: 10_000 })) all.push(item)
      return all
    })()
    await sleep(50)
    setClock(hourMs)
    expect((await answer).remainingMs).toBeGreaterThan(9_000)
    expect(await items).toEqual([0, 1, 2, 3])
    // and the next one is not late on arrival
    expect((await api.after({ ms: 0 }, { timeoutMs: 10_000 })).remainingMs).toBeGreaterThan(9_000)
  })

  it('ends at its deadline though the clock is set back by a minute meanwhile', async () => {
    await using _ = await serve(nats.bus, slowService)
    const began = performance.now()
    const answer = codeOf(client(nats.bus, slow).after({ ms: 1_500 }, { timeoutMs: 400 }))
    await sleep(50)
    setClock(-60_000)
    expect(await answer).toBe('DEADLINE_EXCEEDED')
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it.each([
    ['an hour behind', -hourMs],
    ['an hour ahead', hourMs],
  ])('from a host whose clock is %s has the time that it was given', async (_, byMs) => {
    const lines: string[] = []
    const host = await nats.connect()
    host.subscribe('svc.slow.after', (message) => lines.push(String(message.headers)))
    await host.flush()
    await using __ = await serve(nats.bus, slowService)
    // both sides are this process: the clock is only wrong while the request is made
    const clock = setClock(byMs)
    const answer = client(nats.bus, slow).after({ ms: 0 }, { timeoutMs: 10_000 })
    clock.mockRestore()
    const { remainingMs } = await answer
    expect(remainingMs).toBeGreaterThan(8_000)
    expect(remainingMs).toBeLessThan(10_100)
    await until(() => lines.length === 1)
    expect(lines[0]).toContain('Myelin-Timeout: 10000')
  })

  it.each([
    ['the time left alone', { [header.timeout]: '2000' }, 2_000],
    ['the absolute time alone', { [header.deadline]: () => String(Date.now() + 2_000) }, 2_000],
    ['both: the time left wins', { [header.timeout]: '2000', [header.deadline]: '1000' }, 2_000],
    ['both, the other way round', { [header.timeout]: '0', [header.deadline]: () => String(Date.now() + 2_000) }, 0],
    [
      'a time left that is none',
      { [header.timeout]: 'soon', [header.deadline]: () => String(Date.now() + 2_000) },
      2_000,
    ],
    ['neither: the endpoint’s own', {}, 5_000],
  ])('of a raw client says %s', async (_, headers, expectedMs) => {
    await using __ = await serve(nats.bus, slowService)
    const lines = headerLines(
      Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name, typeof value === 'function' ? value() : value]),
      ),
    )
    const request = { deadline: now() + 10_000, headerLines: lines }
    const reply = await nats.bus.request('svc.slow.after', Buffer.from('{"ms":0}'), request)
    if (expectedMs === 0) return expect(reply.string()).toContain('DEADLINE_EXCEEDED')
    const { remainingMs } = reply.json<{ remainingMs: number }>()
    expect(remainingMs).toBeLessThanOrEqual(expectedMs + 1)
    expect(remainingMs).toBeGreaterThan(expectedMs - 1_500)
  })
})

describe('a connection', () => {
  it('comes back though the clock was set back by an hour', async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url })
    setClock(-hourMs)
    const back = new Promise<void>((resolve) => bus.on(({ type }) => type === 'reconnected' && resolve()))
    process.kill(server.pid, 'SIGKILL')
    await back
    expect(bus.connected).toBe(true)
  })
})
