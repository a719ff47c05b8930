// Whatever a service sends on its own behalf fits into a message: error replies, INFO and STATS, dead letters.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { readHeaders } from '../bus/internal.ts'
import { contract, stream } from '../contract/internal.ts'
import { client, deadLetters, discover, on, redrive, serve, service } from './index.ts'

const limit = 16 * 1024
const nats = withNats({ maxPayloadBytes: limit })
const anything = z.any()
/** Is done within a moment, not only at its deadline. */
const soon = { timeoutMs: 60_000 }

describe('an error reply', () => {
  const teller = contract('teller', {
    version: '1.0.0',
    endpoints: {
      strict: { in: z.strictObject({ a: z.number() }), out: anything },
      say: { in: z.object({ what: z.string() }), out: anything, errors: { WRONG: anything } },
      give: { in: z.object({ what: z.string() }), out: anything },
      checked: { in: z.object({ what: z.string() }), out: z.any().refine(async () => true) },
      items: { in: z.object({ what: z.string() }), out: stream(anything), errors: { WRONG: anything } },
    },
  })
  const cycle: Record<string, unknown> = { name: 'cycle' }
  cycle.self = cycle
  const odd: Record<string, unknown> = {
    large: 'x'.repeat(2 * limit),
    bigint: { n: 12n },
    cycle,
    throwing: {
      toJSON: () => {
        throw new Error('no JSON of this')
      },
    },
    deep: Array.from({ length: 20_000 }).reduce<unknown>((inner) => [inner], 1),
    small: { waitMs: 7 },
  }
  const tellerService = service(teller, {
    strict: () => 1,
    say: ({ what }, { fail }) =>
      what === 'long message' ? fail('WRONG', odd.small, '\u0001é'.repeat(limit)) : fail('WRONG', odd[what]),
    give: ({ what }) => odd[what],
    checked: ({ what }) => odd[what],
    async *items({ what }, { fail }) {
      if (what === 'item') yield odd.bigint
      fail('WRONG', odd[what])
    },
  })

  it('is sent at once when the validation message repeats a key that is larger than the limit', async () => {
    await using _ = await serve(nats.bus, tellerService)
    const long = { a: 1, ['k'.repeat(limit - 300)]: 1, ...{ b: 'é'.repeat(20) } }
    const reply = await nats.bus.request('svc.teller.strict', Buffer.from(JSON.stringify(long)))
    expect(readHeaders(reply).get('Myelin-Error-Code')).toBe('INVALID_INPUT')
    expect(reply.data.length).toBeLessThan(4_096)
    expect(readHeaders(reply).get('Nats-Service-Error')).toMatch(/Unrecognized key.*…/)
  })

  it.each(['large', 'bigint', 'cycle', 'throwing', 'deep'])(
    'keeps its code when its data cannot be sent (%s), and says that the data was left out',
    async (what) => {
      await using _ = await serve(nats.bus, tellerService)
      const api = client(nats.bus, teller)
      for (const outcome of [
        await api.say.try({ what }, soon).then((outcome) => !outcome.ok && outcome.error),
        await api
          .items({ what }, soon)
          .next()
          .catch((error) => error),
      ]) {
        expect(outcome).toMatchObject({ code: 'WRONG', data: undefined })
        expect(outcome).toMatchObject({ message: expect.stringMatching(/its data was left out: it (makes|cannot)/) })
      }
    },
  )

  it('carries a long text cut short, and data that fits', async () => {
    await using _ = await serve(nats.bus, tellerService)
    const outcome = await client(nats.bus, teller).say.try({ what: 'long message' }, soon)
    expect(outcome).toMatchObject({ ok: false, error: { code: 'WRONG', data: { waitMs: 7 } } })
    expect(!outcome.ok && Buffer.byteLength(outcome.error.message)).toBeLessThanOrEqual(2_048)
  })

  it.each(['bigint', 'cycle', 'throwing', 'deep'])(
    'is INTERNAL at once when the reply itself is no JSON (%s)',
    async (what) => {
      await using running = await serve(nats.bus, tellerService)
      const api = client(nats.bus, teller)
      expect(await codeOf(api.give({ what }, soon))).toBe('INTERNAL')
      expect(await codeOf(api.checked({ what }, soon))).toBe('INTERNAL')
      expect(await codeOf(api.items({ what: 'item' }, soon).next())).toBe('INTERNAL')
      expect(running.vitals?.()).toMatchObject({ inFlight: 0 })
      expect(await api.give({ what: 'small' })).toEqual({ waitMs: 7 })
    },
  )

  it('is INVALID_INPUT at the caller when what is asked is no JSON', async () => {
    await using running = await serve(nats.bus, tellerService)
    for (const value of [odd.bigint, cycle, odd.throwing]) {
      expect(await codeOf(client(nats.bus, teller).give(value as never))).toBe('INVALID_INPUT')
    }
    expect(running.stats?.()).toMatchObject({ calls: 0 })
  })
})

describe('a service with more to say of itself than fits into a message', () => {
  const endpoints = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, n) => [
        `endpoint${n}`,
        {
          description: `what ${n} does, ${'at length '.repeat(20)}`,
          in: z.object(
            Object.fromEntries(Array.from({ length: 12 }, (_, field) => [`field_${n}_${field}`, z.string()])),
          ),
          out: z.string(),
          idempotent: n === 7,
        },
      ]),
    )
  const talker = (count: number) => contract('talker', { version: '1.0.0', endpoints: endpoints(count) })
  const talkerService = (count: number) =>
    service(
      talker(count),
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`endpoint${n}`, () => 'said'])) as never,
    )
  interface Info {
    metadata: Record<string, string>
    endpoints: { name: string; metadata: Record<string, string> }[]
  }
  const ask = async (verb: string) => (await nats.bus.request(`$SRV.${verb}.talker`, new Uint8Array(0))).json<Info>()

  it('leaves schemas out first, says so, and gives the whole to who asks for it part by part', async () => {
    await using _ = await serve(nats.bus, talkerService(20), { instance: 'one' })
    const info = await ask('INFO')
    expect(info.metadata['myelin-left-out']).toBe('schemas')
    expect(info.endpoints.length).toBe(20)
    expect(info.endpoints[7]!.metadata).toMatchObject({ idempotent: 'true', description: expect.any(String) })
    expect(info.endpoints[7]!.metadata).not.toHaveProperty('request_schema')
    const [found] = await discover(nats.bus, { service: 'talker' })
    expect(JSON.parse(found!.endpoints[19]!.metadata.request_schema!)).toHaveProperty('properties.field_19_0')
    expect(found!.metadata).not.toHaveProperty('myelin-left-out')
  })

  it('still answers everything with 150 endpoints in 16 kB, and goes on working', async () => {
    await using _ = await serve(nats.bus, talkerService(150), { instance: 'one' })
    for (const verb of ['PING', 'INFO', 'STATS']) {
      expect((await ask(verb)).metadata).toBeTypeOf('object')
    }
    const info = await ask('INFO')
    expect(info.metadata['myelin-left-out']).toMatch(/^schemas, descriptions, metadata/)
    expect(info.endpoints.length).toBeGreaterThan(50)
    const [found] = await discover(nats.bus, { service: 'talker' })
    expect(found!.endpoints.length).toBe(150)
    expect(found!.endpoints.filter(({ metadata }) => metadata.idempotent === 'true').map(({ name }) => name)).toEqual([
      'endpoint7',
    ])
    expect(
      await (client(nats.bus, talker(150)) as never as { endpoint3(input: object): unknown }).endpoint3(
        Object.fromEntries(Array.from({ length: 12 }, (_, field) => [`field_3_${field}`, ''])),
      ),
    ).toBe('said')
  })
})

describe('a dead letter', () => {
  const fat = contract('fat', {
    version: '1.0.0',
    events: { seen: { payload: z.object({ text: z.string() }), durable: true } },
    jobs: { run: { payload: z.object({ text: z.string() }), attempts: 2, backoff: { from: 5, to: 10 } } },
  })

  it('is kept of a job that fills its message to the last byte, and goes back whole', async () => {
    const done: string[] = []
    let tries = 0
    let broken = true
    await using _ = await serve(
      nats.bus,
      service(fat, {
        run: ({ text }) => {
          tries += 1
          if (broken) throw new Error('\u0002no'.repeat(limit))
          done.push(text)
        },
      }),
    )
    const full = (character: string) =>
      JSON.stringify({ text: character.repeat(limit - JSON.stringify({ text: '' }).length) })
    const texts = [full('x'), full('y')]
    for (const text of texts) await nats.bus.request('job.fat.run', Buffer.from(text))
    await until(async () => (await deadLetters(nats.bus, 'fat')).length === 2)
    const letters = await deadLetters(nats.bus, 'fat')
    expect(letters.map(({ payload }) => payload).sort()).toEqual(texts)
    expect(letters[0]).toMatchObject({ attempts: 2, code: 'INTERNAL', reason: expect.stringMatching(/no.*…$/) })
    expect(tries).toBe(4)
    broken = false
    await redrive(nats.bus, 'fat')
    await until(() => done.length === 2)
    expect(await deadLetters(nats.bus, 'fat')).toEqual([])
    expect((await nats.bus.request('$JS.API.STREAM.INFO.DLQ_fat', new Uint8Array(0))).json()).toMatchObject({
      state: { messages: 0 },
    })
  })

  it('is kept of an event at the limit, too', async () => {
    const seen: number[] = []
    let broken = true
    await using _ = await serve(
      nats.bus,
      service(contract('fatreader', { version: '1.0.0' }), {
        on: [
          on(fat, 'seen', { from: 'start', attempts: 1 }, ({ text }) => {
            if (broken) throw new Error('cannot')
            seen.push(text.length)
          }),
        ],
      }),
    )
    const payload = JSON.stringify({ text: 'z'.repeat(limit - 40) })
    await nats.bus.request('evt.fat.seen', Buffer.from(payload))
    await until(async () => (await deadLetters(nats.bus, 'fatreader')).length === 1)
    expect((await deadLetters(nats.bus, 'fatreader'))[0]).toMatchObject({ payload, reason: 'cannot' })
    broken = false
    await redrive(nats.bus, 'fatreader')
    await until(() => seen.length === 1)
    expect(seen).toEqual([limit - 40])
  })
})
