import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const nats = withNats()

const fleet = contract('squadron', {
  version: '1.0.0',
  endpoints: {
    where: {
      in: z.object({}),
      out: z.object({ plane: z.string() }),
      errors: { LOST: z.object({ plane: z.string() }) },
    },
  },
})

type Behaviour = 'answers' | 'hangs' | 'is lost' | 'breaks' | 'talks rubbish'

/** An instance per behaviour, on connections of their own. */
async function instances(...behaviours: Behaviour[]) {
  const asked: string[] = []
  const aborted: string[] = []
  const stop: (() => Promise<void>)[] = []
  for (const [index, behaviour] of behaviours.entries()) {
    const plane = `P${index + 1}`
    const running = await serve(
      await nats.connect(),
      service(fleet, {
        where: (_, { fail, signal }) => {
          asked.push(plane)
          if (behaviour === 'is lost') return fail('LOST', { plane })
          if (behaviour === 'breaks') throw new Error('engine on fire')
          if (behaviour === 'talks rubbish') return { plane: 7 as never }
          if (behaviour === 'answers') return { plane }
          return new Promise<never>((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              aborted.push(plane)
              reject(signal.reason)
            })
          })
        },
      }),
      { instance: plane },
    )
    stop.push(() => running.drain())
  }
  return {
    asked,
    aborted,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(stop.map((drain) => drain()))
    },
  }
}

const planes = (replies: readonly { ok: boolean; value?: { plane: string } }[]) =>
  replies.map((reply) => (reply.ok ? reply.value?.plane : 'error')).sort()

describe('gathering', () => {
  it('brings the answer of every instance', async () => {
    await using fleetService = await instances('answers', 'answers', 'answers')
    const replies = await client(nats.bus, fleet).where.gather({}, { stallMs: 1_000 })
    expect(planes(replies)).toEqual(['P1', 'P2', 'P3'])
    expect(fleetService.asked.sort()).toEqual(['P1', 'P2', 'P3'])
  })

  it('is satisfied with as many answers as it asks for, without waiting for more', async () => {
    await using fleetService = await instances('answers', 'hangs', 'answers')
    const replies = await client(nats.bus, fleet).where.gather({}, { count: 2, stallMs: 60_000, timeoutMs: 60_000 })
    expect(planes(replies)).toEqual(['P1', 'P3'])
    await until(() => fleetService.aborted.length === 1) // whose answer is no longer wanted is stopped
  })

  it('ends when no further answer came for the stall time', async () => {
    await using fleetService = await instances('answers', 'hangs', 'answers')
    const before = Date.now()
    const replies = await client(nats.bus, fleet).where.gather({}, { stallMs: 500, timeoutMs: 60_000 })
    expect(Date.now() - before).toBeGreaterThanOrEqual(499)
    expect(planes(replies)).toEqual(['P1', 'P3'])
    expect(fleetService.asked.length).toBe(3)
  })

  it('ends at its deadline with what there is, even nothing', async () => {
    await using _ = await instances('hangs', 'hangs')
    // the instances themselves say, at the deadline, that they are late: errors, not values
    const replies = await client(nats.bus, fleet).where.gather({}, { timeoutMs: 200 })
    for (const reply of replies) expect(reply).toMatchObject({ ok: false, error: { code: 'DEADLINE_EXCEEDED' } })
  })

  it('reports an instance that fails as an error value beside the others', async () => {
    await using _ = await instances('answers', 'is lost', 'breaks', 'talks rubbish')
    const replies = await client(nats.bus, fleet).where.gather({}, { count: 4 })
    expect(replies.filter(({ ok }) => ok)).toEqual([{ ok: true, value: { plane: 'P1' } }])
    const errors = replies.flatMap((reply) => (reply.ok ? [] : [reply.error]))
    expect(errors.map(({ code }) => code).sort()).toEqual(['INTERNAL', 'INTERNAL', 'LOST'])
    expect(errors.find(({ code }) => code === 'LOST')).toMatchObject({ data: { plane: 'P2' } })
  })

  it('reports a reply that is not JSON as an error value', async () => {
    await using _ = await instances('answers')
    const strange = nats.bus.subscribe('svc.squadron._all.where', ({ reply }) =>
      nats.bus.publish(reply!, Buffer.from('{nope')),
    )
    await nats.bus.flush()
    const replies = await client(nats.bus, fleet).where.gather({}, { count: 2 })
    strange.unsubscribe()
    expect(planes(replies)).toEqual(['P1', 'error'])
    expect(replies.find(({ ok }) => !ok)).toMatchObject({ error: { code: 'MALFORMED_PAYLOAD' } })
  })

  it('fails at once when there is no instance, and can be cancelled', async () => {
    expect(await codeOf(client(nats.bus, fleet).where.gather({}))).toBe('NO_RESPONDERS')
    await using fleetService = await instances('hangs')
    const abort = new AbortController()
    const gathering = codeOf(client(nats.bus, fleet).where.gather({}, { signal: abort.signal, timeoutMs: 60_000 }))
    await until(() => fleetService.asked.length === 1)
    abort.abort()
    expect(await gathering).toBe('CANCELLED')
    await until(() => fleetService.aborted.length === 1)
  })

  it('rejects a count below 1 and input that no message can carry', async () => {
    expect(await codeOf(client(nats.bus, fleet).where.gather({}, { count: 0 }))).toBe('INVALID_OPTION')
    const large = { text: 'x'.repeat(2 * 1024 * 1024) }
    expect(await codeOf(client(nats.bus, fleet).where.gather(large as never))).toBe('PAYLOAD_TOO_LARGE')
  })

  it('leaves calls to one instance alone: they are answered once', async () => {
    await using fleetService = await instances('answers', 'answers', 'answers')
    await client(nats.bus, fleet).where({})
    await nats.bus.flush()
    expect(fleetService.asked.length).toBe(1)
  })
})
