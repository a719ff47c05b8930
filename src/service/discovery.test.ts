import { readFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import formats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { readHeaders } from '../bus/internal.ts'
import { contract, stream } from '../contract/internal.ts'
import { client, discover, discoverContract, serve, service } from './index.ts'

const nats = withNats()

const radar = contract('radar', {
  version: '1.2.3-beta.1',
  description: 'sees planes',
  endpoints: {
    find: {
      description: 'finds one plane',
      in: z.object({ plane: z.string() }),
      out: z.object({ plane: z.string(), at: z.number() }),
      errors: { UNKNOWN: z.object({ plane: z.string() }), FAR: z.object({}) },
      idempotent: true,
    },
    sweep: { in: z.object({ to: z.number() }), out: stream(z.number()), claimCheck: true },
  },
  events: {
    seen: { payload: z.object({ plane: z.string() }), key: 'plane', durable: { maxAge: '1h' } },
    lost: { payload: z.object({ plane: z.string() }) },
  },
  jobs: { calibrate: { payload: z.object({ dish: z.string() }), unique: 'dish' } },
})
const jobs: string[] = []
const radarService = service(radar, {
  find: ({ plane }, { fail }) => (plane === 'P1' ? { plane, at: 5 } : fail('UNKNOWN', { plane })),
  async *sweep({ to }) {
    for (let n = 1; n <= to; n++) yield n
  },
  calibrate: ({ dish }) => void jobs.push(dish),
})
const plain = contract('plain', { version: '0.1.0', endpoints: { ping: { in: z.object({}), out: z.string() } } })
const plainService = service(plain, { ping: () => 'pong' })

async function running() {
  const stop = [
    await serve(await nats.connect(), radarService, { instance: 'one', unit: 'north', site: 'ams' }),
    await serve(await nats.connect(), radarService, { instance: 'two' }),
    await serve(await nats.connect(), plainService, { instance: 'three' }),
  ]
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(stop.map((unit) => unit.drain()))
    },
  }
}

/** Asks on a subject of the service API and gathers so many answers. */
async function ask(subject: string, count: number): Promise<Record<string, unknown>[]> {
  const answers: Record<string, unknown>[] = []
  const inbox = `_INBOX.discovery.${crypto.randomUUID()}`
  const subscription = nats.bus.subscribe(inbox, (message) => answers.push(message.json()))
  nats.bus.publish(subject, new Uint8Array(0), '', inbox)
  await until(() => answers.length >= count)
  await nats.bus.flush()
  subscription.unsubscribe()
  return answers
}

const schemaOf = async (verb: string) => {
  const file = new URL(`../../test/conformance/nats-micro/${verb.toLowerCase()}_response.json`, import.meta.url)
  const ajv = new Ajv({ strict: false, allErrors: true })
  formats.default(ajv)
  const validate = ajv.compile(JSON.parse(await readFile(file, 'utf8')))
  return (answer: unknown) => (validate(answer) ? [] : validate.errors)
}

describe('the NATS service API', () => {
  it.each(['PING', 'INFO', 'STATS'])('answers $SRV.%s as its schema says, for all, by name and by id', async (verb) => {
    await using _ = await running()
    await client(nats.bus, radar).find({ plane: 'P1' })
    await codeOf(client(nats.bus, radar).find({ plane: 'P9' }))
    const errors = await schemaOf(verb)
    for (const [subject, ids] of [
      [`$SRV.${verb}`, ['one', 'three', 'two']],
      [`$SRV.${verb}.radar`, ['one', 'two']],
      [`$SRV.${verb}.radar.two`, ['two']],
      [`$SRV.${verb}.plain`, ['three']],
    ] as const) {
      const answers = await ask(subject, ids.length)
      expect(answers.map(({ id }) => id).sort()).toEqual(ids)
      for (const answer of answers) expect(errors(answer)).toEqual([])
    }
  })

  it('is silent for a name or id that is not there, and once a service has drained', async () => {
    {
      await using _ = await running()
      expect(await codeOf(nats.bus.request('$SRV.PING.nobody', new Uint8Array(0)))).toBe('NO_RESPONDERS')
      expect(await codeOf(nats.bus.request('$SRV.PING.radar.nine', new Uint8Array(0)))).toBe('NO_RESPONDERS')
    }
    expect(await codeOf(nats.bus.request('$SRV.PING', new Uint8Array(0)))).toBe('NO_RESPONDERS')
  })

  it('counts requests and errors and reports the last error', async () => {
    await using _ = await serve(nats.bus, radarService)
    const api = client(nats.bus, radar)
    await api.find({ plane: 'P1' })
    await api.find({ plane: 'P1' })
    await codeOf(api.find({ plane: 'P9' }))
    await codeOf(api.find({ plane: 9 as never }))
    for await (const _item of api.sweep({ to: 3 }));
    await until(async () => {
      const [stats] = (await ask('$SRV.STATS.radar', 1)) as { endpoints: Record<string, unknown>[] }[]
      const [find, sweep] = stats!.endpoints
      expect(find).toMatchObject({ name: 'find', subject: 'svc.radar.find', num_requests: 4, num_errors: 2 })
      expect(find!.last_error).toMatch(/^INVALID_INPUT: /)
      expect(find!.processing_time).toBeGreaterThan(0)
      expect(sweep).toMatchObject({ name: 'sweep', num_errors: 0, data: { in_flight: expect.any(Number) } })
      return sweep!.num_requests === 1
    })
  })
})

describe('beside services of other programs', () => {
  it('shares the calls with a plain NATS service of the same subject, in the queue group that its INFO names', async () => {
    await using _ = await serve(nats.bus, plainService)
    const [info] = (await ask('$SRV.INFO.plain', 1)) as { endpoints: { subject: string; queue_group: string }[] }[]
    const { subject, queue_group: queue } = info!.endpoints[0]!
    expect(queue).toBe('q')
    const other = await nats.connect()
    let theirs = 0
    const foreign = other.subscribe(
      subject,
      ({ reply }) => {
        theirs += 1
        other.publish(reply!, Buffer.from('"theirs"'))
      },
      { queue },
    )
    await other.flush()
    const api = client(nats.bus, plain)
    const said = await Promise.all(Array.from({ length: 60 }, () => api.ping({})))
    expect(said.filter((text) => text === 'theirs').length).toBe(theirs) // each call was answered by one of the two
    expect(new Set(said)).toEqual(new Set(['pong', 'theirs']))
    foreign.unsubscribe()
  })

  it("sends errors as numbers that are safe to parse, and understands others' numbers and Myelin 0.1's codes", async () => {
    await using _ = await serve(nats.bus, radarService)
    const raw = async (payload: string) =>
      readHeaders(await nats.bus.request('svc.radar.find', Buffer.from(payload))).get('Nats-Service-Error-Code')
    expect([await raw('{"plane":"P9"}'), await raw('{nope'), await raw('{}')]).toEqual(['422', '400', '400'])

    const replies = {
      '503': 'OVERLOADED',
      '400': 'INVALID_INPUT',
      '504': 'DEADLINE_EXCEEDED',
      '413': 'PAYLOAD_TOO_LARGE',
      '7': 'INTERNAL',
      UNKNOWN: 'UNKNOWN',
      NO_RESPONDERS: 'NO_RESPONDERS',
    }
    let status = ''
    let body = '{"plane":"P9"}'
    const other = contract('other', {
      version: '1.0.0',
      endpoints: { find: { in: z.object({}), out: z.string(), errors: { UNKNOWN: z.any() } } },
    })
    const stranger = nats.bus.subscribe('svc.other.find', ({ reply }) =>
      nats.bus.publish(reply!, Buffer.from(body), `Nats-Service-Error:no\r\nNats-Service-Error-Code:${status}\r\n`),
    )
    await nats.bus.flush()
    const api = client(nats.bus, other)
    for (const [sent, code] of Object.entries(replies)) {
      status = sent
      expect([sent, await codeOf(api.find({}))]).toEqual([sent, code])
    }
    status = '404'
    body = '{"code":"UNKNOWN","message":"no","data":{"plane":"P9"}}'
    expect(await api.find.try({})).toMatchObject({ ok: false, error: { code: 'UNKNOWN', data: { plane: 'P9' } } })
    stranger.unsubscribe()
  })

  it('rejects what their schemas do not allow: a version that is none, an instance that is no token', async () => {
    for (const version of ['1', '1.0', 'v1.0.0', '01.0.0', '1.0.0-', '1.0.0-a..b', '1.0.0-01', '']) {
      expect(() => contract('versions', { version }), version).toThrow(/semantic version/)
    }
    for (const version of ['0.0.1', '1.2.3-alpha.1+build.7', '1.0.0--', '10.20.30-0a'])
      contract('versions', { version })
    for (const instance of ['a.b', 'a b', '*', '>', 'a\r\nb', '']) {
      expect(await codeOf(serve(nats.bus, plainService, { instance })), instance).toBe('INVALID_OPTION')
    }
  })
})

describe('discover()', () => {
  it('finds every running instance with its endpoints, counters and metadata, by name', async () => {
    await using _ = await running()
    await client(nats.bus, plain).ping({})
    const found = await discover(nats.bus, { waitMs: 1_000 })
    expect(found.map(({ name, id }) => `${name}/${id}`)).toEqual(['plain/three', 'radar/one', 'radar/two'])
    const [plainFound, one] = found
    expect(plainFound).toMatchObject({ version: '0.1.0', endpoints: [{ name: 'ping', requests: 1, errors: 0 }] })
    expect(one).toMatchObject({
      version: '1.2.3-beta.1',
      description: 'sees planes',
      metadata: { unit: 'north', site: 'ams' },
    })
    expect(Date.parse(one!.started)).toBeLessThanOrEqual(Date.now())
    const find = one!.endpoints.find(({ name }) => name === 'find')!
    expect(find.metadata).toMatchObject({
      idempotent: 'true',
      streamed: 'false',
      errors: 'UNKNOWN,FAR',
      description: 'finds one plane',
    })
    expect(JSON.parse(find.metadata.request_schema!)).toMatchObject({ properties: { plane: { type: 'string' } } })
    expect(JSON.parse(find.metadata.response_schema!)).toMatchObject({ properties: { at: { type: 'number' } } })
    expect(JSON.parse(one!.metadata.events!)).toEqual({
      seen: { key: 'plane', durable: { maxAge: '1h' } },
      lost: {},
    })
    expect((await discover(nats.bus, { service: 'radar', waitMs: 1_000 })).map(({ id }) => id)).toEqual(['one', 'two'])
  })

  it('finds nothing where nothing runs, and is not confused by strangers', async () => {
    expect(await discover(nats.bus)).toEqual([])
    await using _ = await serve(nats.bus, plainService, { instance: 'three' })
    const stranger = nats.bus.subscribe('$SRV.>', ({ reply }) => nats.bus.publish(reply!, Buffer.from('not JSON')))
    await nats.bus.flush()
    expect((await discover(nats.bus, { waitMs: 1_000 })).map(({ id }) => id)).toEqual(['three'])
    stranger.unsubscribe()
  })
})

describe('discoverContract()', () => {
  it('makes a contract to call, publish and enqueue with, of what a service says of itself', async () => {
    await using _ = await serve(nats.bus, radarService)
    const found = await discoverContract(nats.bus, 'radar')
    expect(found.definition.version).toBe('1.2.3-beta.1')
    expect(found.definition.endpoints).toMatchObject({ find: { idempotent: true }, sweep: { claimCheck: true } })
    expect(found.definition.events).toMatchObject({ seen: { key: 'plane', durable: { maxAge: '1h' } } })
    expect(found.definition.jobs).toMatchObject({ calibrate: { unique: 'dish' } })
    // biome-ignore lint/suspicious/noExplicitAny: the contract is known only at run time
    const api = client(nats.bus, found) as any
    expect(await api.find({ plane: 'P1' })).toEqual({ plane: 'P1', at: 5 })
    expect(await api.find.try({ plane: 'P9' })).toMatchObject({
      ok: false,
      error: { code: 'UNKNOWN', data: { plane: 'P9' } },
    })
    const items: unknown[] = []
    for await (const item of api.sweep({ to: 3 })) items.push(item)
    expect(items).toEqual([1, 2, 3])
    await api.calibrate.enqueue({ dish: 'd1' })
    await until(() => jobs.includes('d1'))
    expect(await api.seen.publish({ plane: 'P1' })).toMatchObject({ sequence: 1 })
  })

  it('is NO_RESPONDERS when no instance answers', async () => {
    expect(await codeOf(discoverContract(nats.bus, 'nobody'))).toBe('NO_RESPONDERS')
  })
})
