import { jetstreamManager } from '@nats-io/jetstream'
import { type CloudEvent, HTTP } from 'cloudevents'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { readHeaders } from '../bus/internal.ts'
import { contract, eventStream } from '../contract/internal.ts'
import { client, deadLetters, on, redrive, type Subscription, serve, service } from './index.ts'

const nats = withNats()
const numbered = z.object({ n: z.number() })

let domains = 0
/** A contract of its own per test, so that no test sees another's events. */
const makeNews = () =>
  contract(`news${++domains}`, {
    version: '1.0.0',
    events: {
      core: { payload: numbered },
      kept: { payload: numbered, durable: { maxAge: '1h' } },
      city: { payload: z.object({ n: z.number(), city: z.string() }), key: 'city', durable: true },
      coreCity: { payload: z.object({ n: z.number(), city: z.string() }), key: 'city' },
    },
  })

/** Collects what subscriptions bring, until it is stopped. */
function collect(...subscriptions: Subscription<{ n: number }>[]) {
  const seen = subscriptions.map((): number[] => [])
  const reading = subscriptions.map(async (subscription, index) => {
    for await (const { payload } of subscription) seen[index]!.push(payload.n)
  })
  return {
    seen,
    all: () => seen.flat().sort((a, b) => a - b),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(subscriptions.map((subscription) => subscription.close()))
      await Promise.all(reading)
    },
  }
}
const upTo = (to: number) => Array.from({ length: to }, (_, index) => index + 1)
const ready = (subscriptions: { ready(): Promise<void> }[]) =>
  Promise.all(subscriptions.map((subscription) => subscription.ready()))

describe('an event', () => {
  it('that is not durable reaches who listens now; a durable one also who comes later', async () => {
    const api = client(nats.bus, makeNews())
    await api.core.publish({ n: 1 })
    await api.kept.publish({ n: 1 })
    const subscriptions = [api.core.subscribe(), api.kept.subscribe({ from: 'start' }), api.kept.subscribe()]
    await ready(subscriptions)
    await using readers = collect(...subscriptions)
    await api.core.publish({ n: 2 })
    await api.kept.publish({ n: 2 })
    await until(() => readers.seen.flat().length === 4)
    expect(readers.seen).toEqual([[2], [1, 2], [2]])
  })

  it.each(['core', 'kept'] as const)('(%s) is shared by a group and broadcast to everyone else', async (name) => {
    const news = makeNews()
    const other = await nats.connect()
    const api = client(nats.bus, news)
    const subscriptions = [
      api[name].subscribe({ group: 'group' }),
      client(other, news)[name].subscribe({ group: 'group' }),
      api[name].subscribe(),
      client(other, news)[name].subscribe(),
    ]
    await ready(subscriptions)
    await using group = collect(...subscriptions.slice(0, 2))
    await using everyone = collect(...subscriptions.slice(2))
    for (const n of upTo(100)) await api[name].publish({ n })
    await until(() => everyone.all().length === 200 && group.all().length === 100)
    expect(everyone.seen).toEqual([upTo(100), upTo(100)])
    expect(group.all()).toEqual(upTo(100))
  })

  it('is replayed from the start, from a sequence, and from a time', async () => {
    const api = client(nats.bus, makeNews())
    for (const n of upTo(5)) await api.kept.publish({ n })
    let last = Date.now()
    await until(() => Date.now() > last + 1) // the server's clock and this one are the same, in whole milliseconds
    last = Date.now()
    for (const n of [6, 7, 8]) await api.kept.publish({ n })
    await using readers = collect(
      api.kept.subscribe({ from: 'start' }),
      api.kept.subscribe({ from: { sequence: 4 } }),
      api.kept.subscribe({ from: { timeMs: last } }),
      api.kept.subscribe({ from: 'last-per-subject' }),
    )
    await until(() => readers.seen.flat().length === 17)
    expect(readers.seen).toEqual([upTo(8), [4, 5, 6, 7, 8], [6, 7, 8], [8]])
  })

  it('happened when its publisher says, if that is a time', async () => {
    const api = client(nats.bus, makeNews())
    expect(
      ['2001-07-01T12:00:00+02:00', '2001-07-01', new Date('2001-07-01T12:00Z')].map(
        (time) => /ce-time:(.*)\r/.exec(api.kept.encode({ n: 1 }, { time }).headerLines)?.[1],
      ),
    ).toEqual(['2001-07-01T12:00:00+02:00', '2001-07-01T00:00:00.000Z', '2001-07-01T12:00:00.000Z'])
    for (const time of ['', 'gate 12', '2001-02-31', '2001-07-01T12:00:00', 'x\r\nNats-Msg-Id: y', new Date('no')]) {
      expect(await codeOf(api.kept.publish({ n: 1 }, { time }))).toBe('INVALID_OPTION')
      expect(await codeOf((async () => api.core.publish({ n: 1 }, { time }))())).toBe('INVALID_OPTION')
    }
    const from = { timeMs: Number.NaN }
    await using nowhere = api.kept.subscribe({ from })
    expect(await codeOf(nowhere.ready())).toBe('INVALID_OPTION')
  })

  it('with the id of another is stored once', async () => {
    const api = client(nats.bus, makeNews())
    expect(await api.kept.publish({ n: 1 }, { id: 'a' })).toMatchObject({ sequence: 1, duplicate: false })
    expect(await api.kept.publish({ n: 1 }, { id: 'a' })).toMatchObject({ sequence: 1, duplicate: true })
    expect(await api.kept.publish({ n: 2 }, { id: 'b' })).toMatchObject({ sequence: 2, duplicate: false })
    await using reader = collect(api.kept.subscribe({ from: 'start' }))
    await until(() => reader.all().length === 2)
    expect(reader.all()).toEqual([1, 2])
  })

  it('is picked by its key', async () => {
    const api = client(nats.bus, makeNews())
    const subscriptions = [
      api.city.subscribe({ key: 'ATL', from: 'start' }),
      api.coreCity.subscribe({ key: 'ATL' }),
      api.coreCity.subscribe(),
    ]
    await ready(subscriptions)
    await using readers = collect(...subscriptions)
    for (const n of upTo(4)) {
      const city = n % 2 === 0 ? 'ATL' : 'LAX'
      await api.city.publish({ n, city })
      await api.coreCity.publish({ n, city })
    }
    await until(() => readers.seen.flat().length === 8)
    expect(readers.seen).toEqual([[2, 4], [2, 4], upTo(4)])
  })

  it('is rejected where its key cannot be part of a subject, or a durable payload does not fit', async () => {
    const api = client(nats.bus, makeNews())
    for (const city of ['', 'a b', 'a.b', '*', '>', 'a\r\nb'])
      expect(await codeOf(api.city.publish({ n: 1, city }))).toBe('INVALID_INPUT')
    expect(await codeOf(api.kept.publish({ n: 'x' as never }))).toBe('INVALID_INPUT')
    // @ts-expect-error it has no key
    expect(() => api.kept.subscribe({ key: 'ATL' })).toThrow('no key')
    // @ts-expect-error it is not durable
    expect(() => api.core.subscribe({ from: 'start' })).toThrow('not durable')
  })

  it("that a group's member left unhandled goes to another member at once", async () => {
    const news = makeNews()
    const api = client(nats.bus, news)
    const leaving = api.kept.subscribe({ group: 'group', from: 'start' })
    await leaving.ready()
    for (const n of upTo(10)) await api.kept.publish({ n })
    const { consumers } = await jetstreamManager(nats.bus.nats)
    await until(async () => (await consumers.info(eventStream(news.name, 'kept'), 'group')).num_ack_pending === 10)
    await nats.bus.flush() // all ten are here, unhandled
    expect((await leaving.next()).value.payload.n).toBe(1)
    expect((await leaving.next()).value.payload.n).toBe(2) // and so 1 is handled
    await leaving.return?.()
    await using reader = collect(api.kept.subscribe({ group: 'group' }))
    await until(() => reader.all().length === 9)
    expect(reader.all()).toEqual(upTo(10).slice(1))
  })

  it('is a valid CloudEvent in binary mode', async () => {
    const news = makeNews()
    const api = client(nats.bus, news)
    const seen: { headers: Record<string, string>; body: string }[] = []
    const subscription = nats.bus.subscribe(`evt.${news.name}.>`, (message) =>
      seen.push({ headers: readHeaders(message).all(), body: message.string() }),
    )
    await nats.bus.flush()
    await api.core.publish({ n: 1 })
    await api.kept.publish({ n: 2 }, { id: 'two', time: new Date('2026-01-02T03:04:05.678Z') })
    await until(() => seen.length === 2)
    subscription.unsubscribe()
    const [first, second] = seen.map((message) => {
      const event = HTTP.toEvent<{ n: number }>(message)
      return event as CloudEvent<{ n: number }>
    })
    for (const event of [first!, second!]) expect(event.validate()).toBe(true)
    expect(first).toMatchObject({
      specversion: '1.0',
      type: `${news.name}.core`,
      source: `/${news.name}`,
      datacontenttype: 'application/json',
      data: { n: 1 },
    })
    expect(first!.id).toMatch(/\S{10,}/)
    expect(Math.abs(Date.parse(first!.time!) - Date.now())).toBeLessThan(60_000)
    expect(second).toMatchObject({ id: 'two', time: '2026-01-02T03:04:05.678Z', data: { n: 2 } })
    expect(seen[0]!.headers).toMatchObject({ 'ce-datacontenttype': 'application/json' })
  })

  it('keeps its id whatever it is, percent-encoded on the wire', async () => {
    const news = makeNews()
    const api = client(nats.bus, news)
    const ids = ['café 100%', 'a%20b%25', '"quoted"', '注文-7 😀']
    for (const [n, id] of ids.entries()) await api.kept.publish({ n }, { id })
    const events = api.kept.subscribe({ from: 'start' })
    for (const id of ids) expect((await events.next()).value.id).toBe(id)
    await events.close()
    expect(await api.kept.publish({ n: 0 }, { id: ids[0]! })).toMatchObject({ duplicate: true })
    expect(await codeOf(api.kept.publish({ n: 0 }, { id: '' }))).toBe('INVALID_OPTION')
    expect(await codeOf(api.core.publish({ n: 0 }, { time: 'gate 12' }))).toBe('INVALID_OPTION')
  })

  it('is read in structured mode by subscribers, listening services and their dead letters', async () => {
    const news = makeNews()
    const seen: number[] = []
    await using _ = await serve(
      nats.bus,
      service(contract(`${news.name}reader`, { version: '1.0.0' }), {
        on: [
          on(news, 'kept', { from: 'start' }, ({ n }) => void seen.push(n)),
          on(news, 'core', {}, ({ n }) => void seen.push(n)),
        ],
      }),
    )
    const api = client(nats.bus, news)
    const core = api.core.subscribe()
    const kept = api.kept.subscribe()
    await Promise.all([core.ready(), kept.ready()])
    const send = (event: string, id: string, data: unknown) =>
      nats.bus.publish(
        `evt.${news.name}.${event}`,
        Buffer.from(JSON.stringify({ specversion: '1.0', id, source: '/x', type: 'x', data })),
        'Content-Type:application/cloudevents+json\r\n',
      )
    send('core', 'one', { n: 1 })
    send('kept', '', { n: 2 }) // no event: its id is empty
    send('kept', 'three', { n: 3 })
    expect((await core.next()).value).toMatchObject({ payload: { n: 1 }, id: 'one' })
    expect((await kept.next()).value).toMatchObject({ payload: { n: 3 }, id: 'three' })
    expect(kept.invalid).toBe(1)
    await until(() => seen.length === 2)
    expect(seen.toSorted()).toEqual([1, 3])
    await until(async () => (await deadLetters(nats.bus, `${news.name}reader`)).length === 1)
    expect((await deadLetters(nats.bus, `${news.name}reader`))[0]).toMatchObject({ code: 'MALFORMED_PAYLOAD' })
    await Promise.all([core.close(), kept.close()])
  })
})

describe('an event in binary mode whose id or time is none', () => {
  it('reaches neither subscribers nor listening services, whose dead letters have it at once; without attributes it is plain', async () => {
    const news = makeNews()
    const reader = `${news.name}reader`
    const seen: number[] = []
    await using _ = await serve(
      nats.bus,
      service(contract(reader, { version: '1.0.0' }), {
        on: [
          on(news, 'kept', { from: 'start' }, ({ n }) => void seen.push(n)),
          on(news, 'core', {}, ({ n }) => void seen.push(n)),
        ],
      }),
    )
    const kept = client(nats.bus, news).kept.subscribe()
    await kept.ready()
    const invalid = [
      'ce-id:\r\nce-time:2026-01-02T03:04:05Z\r\n',
      'CE-ID: %C0%A0\r\n',
      'ce-id:1\r\nce-time:gate 12\r\n',
      'ce-id:1\r\nce-time:2001-02-31T00:00:00Z\r\n',
      'Content-Type:application/msgpack\r\nCe-Time:\r\n',
    ]
    const fine = ['', 'X-Trace:1\r\n', 'CE-ID:caf%C3%A9\r\nCE-TIME:2026-01-02T03:04:05+02:00\r\n', 'ce-id:"a b"\r\n']
    for (const [n, lines] of [...invalid, ...fine].entries()) {
      for (const event of ['kept', 'core'])
        nats.bus.publish(`evt.${news.name}.${event}`, Buffer.from(`{"n":${n}}`), lines === '' ? undefined : lines)
    }
    for (const n of [5, 6, 7, 8]) expect((await kept.next()).value.payload).toEqual({ n })
    expect(kept.invalid).toBe(invalid.length)
    await until(() => seen.length === 2 * fine.length)
    expect(seen.toSorted()).toEqual([5, 5, 6, 6, 7, 7, 8, 8])
    await until(async () => (await deadLetters(nats.bus, reader)).length === invalid.length)
    for (const letter of await deadLetters(nats.bus, reader))
      expect(letter).toMatchObject({
        code: 'MALFORMED_PAYLOAD',
        attempts: 1,
        reason: expect.stringContaining('CloudEvent'),
      })
    await kept.close()
  })
})

describe('a service that listens', () => {
  it('keeps a rejected event as a dead letter with its reason, and redrive hands it only to that group', async () => {
    const news = makeNews()
    const seen = { strict: [] as number[], second: [] as number[], other: [] as number[] }
    let broken = true
    const strict = contract('strict', { version: '1.0.0' })
    const other = contract('other', { version: '1.0.0' })
    const options = { from: 'start', attempts: 2, backoff: { from: 5, to: 5 } } as const
    await using _strict = await serve(
      nats.bus,
      service(strict, {
        on: [
          on(news, 'kept', options, ({ n }) => {
            if (n === 2 && broken) throw new Error('cannot read 2')
            seen.strict.push(n)
          }),
          on(news, 'kept', { ...options, group: 'second' }, ({ n }) => void seen.second.push(n)),
        ],
      }),
    )
    await using _other = await serve(
      nats.bus,
      service(other, { on: [on(news, 'kept', options, ({ n }) => void seen.other.push(n))] }),
    )
    const api = client(nats.bus, news)
    for (const n of [1, 2, 3]) await api.kept.publish({ n })
    await until(async () => seen.strict.length === 2 && (await deadLetters(nats.bus, 'strict')).length === 1)
    await until(() => seen.second.length === 3 && seen.other.length === 3)
    const [letter] = await deadLetters(nats.bus, 'strict')
    expect(letter).toMatchObject({
      kind: 'event',
      consumer: 'strict',
      code: 'INTERNAL',
      reason: 'cannot read 2',
      attempts: 2,
      originalSequence: 2,
      payload: '{"n":2}',
    })
    expect(letter!.originalSubject).toBe(`evt.${news.name}.kept`)
    broken = false
    expect(await redrive(nats.bus, 'strict')).toMatchObject([{ sequence: letter!.sequence }])
    await until(() => seen.strict.includes(2))
    await api.kept.publish({ n: 4 }) // what had been put back for others would come before this
    await until(() => [seen.strict, seen.second, seen.other].every((numbers) => numbers.includes(4)))
    expect(seen).toEqual({ strict: [1, 3, 2, 4], second: [1, 2, 3, 4], other: [1, 2, 3, 4] })
    expect(await deadLetters(nats.bus, 'strict')).toEqual([])
  })

  it('does not try again what can never fit the schema', async () => {
    const news = makeNews()
    const picky = contract('picky', { version: '1.0.0' })
    const seen: number[] = []
    await client(nats.bus, news).kept.publish({ n: 1 })
    await nats.bus.request(`evt.${news.name}.kept`, Buffer.from('{"n":"two"}'))
    await nats.bus.request(`evt.${news.name}.kept`, Buffer.from('{nope'))
    await using _ = await serve(
      nats.bus,
      service(picky, { on: [on(news, 'kept', { from: 'start' }, ({ n }) => void seen.push(n))] }),
    )
    await until(async () => (await deadLetters(nats.bus, 'picky')).length === 2)
    expect(seen).toEqual([1])
    expect((await deadLetters(nats.bus, 'picky')).map(({ code, attempts }) => ({ code, attempts }))).toEqual([
      { code: 'INVALID_INPUT', attempts: 1 },
      { code: 'MALFORMED_PAYLOAD', attempts: 1 },
    ])
  })
})

it('keeps the events of contracts apart whose names would meet', async () => {
  const payload = z.looseObject({ n: z.number() })
  const shop = contract('shop', { version: '1.0.0', events: { eu_sold: { payload, durable: true } } })
  const shopEu = contract('shop_eu', { version: '1.0.0', events: { sold: { payload, durable: true } } })
  await client(nats.bus, shop).eu_sold.publish({ n: 1 })
  await client(nats.bus, shopEu).sold.publish({ n: 2 })
  await client(nats.bus, shop).eu_sold.publish({ n: 3 })
  await using received = collect(
    client(nats.bus, shop).eu_sold.subscribe({ from: 'start' }),
    client(nats.bus, shopEu).sold.subscribe({ from: 'start' }),
  )
  await until(() => received.all().length === 3)
  expect(received.seen).toEqual([[1, 3], [2]])
})

it('rejects at once the name of a group that NATS does not take', async () => {
  const news = makeNews()
  for (const group of ['crew.app', 'crew app', 'crew/app', 'crew*', '']) {
    const member = client(nats.bus, news).kept.subscribe({ group })
    expect(await codeOf(member.ready())).toBe('INVALID_OPTION')
    expect(await codeOf(member.next())).toBe('INVALID_OPTION')
    const listener = service(contract('listens', { version: '1.0.0' }), { on: [on(news, 'kept', { group }, () => {})] })
    expect(await codeOf(serve(nats.bus, listener))).toBe('INVALID_OPTION')
  }
  expect(await codeOf(client(nats.bus, news).core.subscribe({ group: 'two words' }).ready())).toBe('INVALID_OPTION')
})

it('answers several `next` at once in their order, and settles each event of a group', async () => {
  const news = makeNews()
  const api = client(nats.bus, news)
  for (const options of [{}, { group: 'group', leaseMs: 60_000 }]) {
    const kept = api.kept.subscribe(options)
    await kept.ready()
    const asked = [1, 2, 3, 4].map(() => kept.next())
    for (const n of [1, 2, 3]) await api.kept.publish({ n })
    const got = await Promise.all(asked.slice(0, 3))
    expect(got.map(({ value }) => value.payload.n)).toEqual([1, 2, 3])
    await kept.close()
    expect((await asked[3])!.done).toBe(true)
  }
  const core = api.core.subscribe()
  await core.ready()
  const both = [core.next(), core.next()]
  for (const n of [1, 2]) await api.core.publish({ n })
  expect((await Promise.all(both)).map(({ value }) => value.payload.n)).toEqual([1, 2])
  const waiting = core.next()
  await core.return!()
  expect((await waiting).done).toBe(true)
})

it('goes on in a stream that was made anew, and says so', async () => {
  const news = makeNews()
  const api = client(nats.bus, news)
  const gaps: unknown[] = []
  const subscription = api.kept.subscribe({ onGap: (gap) => gaps.push(gap) })
  await subscription.ready()
  await using received = collect(subscription)
  for (const n of [1, 2, 3]) await api.kept.publish({ n })
  await until(() => received.all().length === 3)
  const stream = eventStream(news.name, 'kept')
  const jsm = await jetstreamManager(nats.bus.nats)
  const { config } = await jsm.streams.info(stream)
  await jsm.streams.delete(stream)
  await jsm.streams.add(config)
  for (const n of [4, 5]) await api.kept.publish({ n })
  await until(() => received.all().length === 5)
  expect(gaps).toEqual([{ stream, reason: 'recreated', expected: 4, next: 1 }])
  expect(subscription.gaps).toBe(1)
})

it('rejects a member of a group that asks for one key where the others ask for all', async () => {
  const news = makeNews()
  const api = client(nats.bus, news)
  const all = api.city.subscribe({ group: 'crew', from: 'start' })
  await all.ready()
  const some = api.city.subscribe({ group: 'crew', key: 'ATL' })
  expect(await codeOf(some.ready())).toBe('INVALID_OPTION')
  await expect(some.next()).rejects.toThrow('the group "crew" reads')
  const other = api.city.subscribe({ group: 'crew-atl', key: 'ATL' })
  await other.ready()
  for (const one of [all, some, other]) await one.close()
})

it('goes on for a service whose consumer was removed, at what it had acknowledged', async () => {
  const news = makeNews()
  const api = client(nats.bus, news)
  const seen: number[] = []
  const reader = contract(`reads-${news.name}`, { version: '1.0.0' })
  await api.kept.publish({ n: 0 }) // before the service: it begins with what is new
  await using _ = await serve(
    nats.bus,
    service(reader, { on: [on(news, 'kept', { attempts: 1 }, ({ n }) => void seen.push(n))] }),
  )
  for (const n of [1, 2, 3]) await api.kept.publish({ n })
  await until(() => seen.length === 3)
  const jsm = await jetstreamManager(nats.bus.nats)
  await jsm.consumers.delete(eventStream(news.name, 'kept'), reader.name)
  for (const n of [4, 5, 6]) await api.kept.publish({ n })
  await until(() => seen.includes(6))
  expect([...new Set(seen)]).toEqual([1, 2, 3, 4, 5, 6])
  expect(seen.filter((n) => n === 1).length).toBe(1)
})

it('gives a listener of one key the events of that key, durable or not', async () => {
  const news = makeNews()
  const api = client(nats.bus, news)
  const seen: string[] = []
  const picky = contract(`picks-${news.name}`, { version: '1.0.0' })
  const note = (where: string) => (event: { city: string }) => void seen.push(`${where} ${event.city}`)
  await using _ = await serve(
    nats.bus,
    service(picky, {
      on: [
        on(news, 'coreCity', { key: 'ATL' }, note('core')),
        on(news, 'city', { key: 'ATL' }, note('durable')),
        on(news, 'city', { key: 'ATL', group: false }, note('each')),
      ],
    }),
  )
  for (const city of ['SFO', 'ATL']) {
    await api.coreCity.publish({ n: 1, city })
    await api.city.publish({ n: 1, city })
  }
  await until(() => seen.length >= 3)
  expect(seen.sort()).toEqual(['core ATL', 'durable ATL', 'each ATL'])
  // @ts-expect-error it has no key
  const keyless = service(contract('keyless', { version: '1.0.0' }), { on: [on(news, 'core', { key: 'x' }, () => {})] })
  expect(await codeOf(serve(nats.bus, keyless))).toBe('INVALID_OPTION')
})

it('is listened to by a handler that was given in a function, with the state of its service', async () => {
  const news = makeNews()
  const seen = new Map<number, string>()
  const reader = contract(`knows-${news.name}`, { version: '1.0.0' })
  await using _ = await serve(
    nats.bus,
    service(reader, {
      setup: () => seen,
      on: [(on) => on(news, 'city', { from: 'start' }, ({ n, city }, { state }) => void state.set(n, city))],
    }),
  )
  await client(nats.bus, news).city.publish({ n: 1, city: 'ATL' })
  await until(() => seen.size > 0)
  expect([...seen]).toEqual([[1, 'ATL']])
})

it('says which options do nothing for events that are not durable, or that every instance gets', async () => {
  const news = makeNews()
  const outcome = (event: 'core' | 'kept', options: object) =>
    codeOf(
      serve(
        nats.bus,
        service(contract('asks-too-much', { version: '1.0.0' }), { on: [on(news, event, options as never, () => {})] }),
      ).then((running) => running.drain()),
    )
  for (const options of [{ from: 'start' }, { attempts: 3 }, { backoff: { from: 1, to: 2 } }, { lease: '1m' }]) {
    expect(await outcome('core', options)).toBe('INVALID_OPTION')
    expect(await outcome('kept', { ...options, group: false })).toBe('INVALID_OPTION')
    expect(await outcome('kept', options)).toBe('none')
  }
  expect(await outcome('core', { group: false })).toBe('none')
})
