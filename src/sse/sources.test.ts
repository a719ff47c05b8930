import { Kvm } from '@nats-io/kv'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { listen } from '../../test/support/event-stream.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { ensureStream, now, persist, removeStream, streamInfo, streamWriter } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve } from '../service/index.ts'
import { fromEvent, fromStream, fromTable, type SseSource, sseGateway } from './index.ts'

const nats = withNats()

async function start(streams: Record<string, SseSource>) {
  const unit = await serve(nats.bus, sseGateway({ streams }), { config: { port: 0 } as never })
  const url = `http://127.0.0.1:${unit.stats!().port!}`
  return { unit, url, [Symbol.asyncDispose]: () => unit.drain() }
}

interface Flight {
  readonly n: number
  readonly origin: string
  readonly delay: number
  readonly hour: string
}
const flight = (n: number): Flight => ({
  n,
  origin: ['ATL', 'ORD', 'LAX'][n % 3]!,
  delay: n % 20,
  hour: new Date(Date.UTC(2001, 0, 1) + n * 3_600_000).toISOString(),
})
async function fly(stream: string, from: number, count: number) {
  const writer = await streamWriter(nats.bus, stream)
  for (let n = from; n < from + count; n++)
    writer.add(`${stream}.${n % 2 ? 'odd' : 'even'}`, Buffer.from(JSON.stringify(flight(n))))
  await writer.flush()
}
const numbers = (events: readonly { data: string }[]) => events.map(({ data }) => (JSON.parse(data) as Flight).n)

describe('an event of a contract', () => {
  it('is sent as its payload, in whatever form it came: plain, CloudEvents in structured mode, MessagePack', async () => {
    const payload = z.object({ n: z.number() })
    const forms = contract('forms', {
      version: '1.0.0',
      events: { kept: { payload, durable: true }, core: { payload } },
    })
    await using at = await start({ kept: fromEvent(forms, 'kept'), core: fromEvent(forms, 'core') })
    const packer = client(await nats.connect({ codec: 'msgpack' }), forms)
    for (const name of ['kept', 'core'] as const) {
      const browser = listen(`${at.url}/streams/${name}`)
      await until(() => browser.state.status === 200)
      const send = (event: object) =>
        nats.bus.publish(
          `evt.forms.${name}`,
          Buffer.from(JSON.stringify({ specversion: '1.0', source: '/x', type: 'x', ...event })),
          'Content-Type:application/cloudevents+json\r\n',
        )
      await client(nats.bus, forms)[name].publish({ n: 1 })
      send({ id: '2', data: { n: 2 } })
      send({ id: '', data: { n: 3 } }) // no event: its id is empty
      nats.bus.publish(`evt.forms.${name}`, Buffer.from('{"n":3}'), 'ce-id:\r\n')
      nats.bus.publish(`evt.forms.${name}`, Buffer.from('{"n":3}'), 'ce-id:3\r\nce-time:gate 12\r\n')
      await nats.bus.flush()
      await packer[name].publish({ n: 4 })
      await until(() => browser.events.length === 3)
      expect(browser.events.map(({ data }) => JSON.parse(data))).toEqual([{ n: 1 }, { n: 2 }, { n: 4 }])
      browser.close()
    }
  })
})

describe('any stream', () => {
  it('is offered as it is, by subject and by a key from the payload', async () => {
    await ensureStream(nats.bus, { name: 'PLAIN', subjects: ['PLAIN.*'] })
    await fly('PLAIN', 0, 6)
    await using at = await start({
      all: fromStream('PLAIN'),
      odd: fromStream<Flight>('PLAIN', { subject: 'PLAIN.odd', key: 'origin' }),
      last: fromStream('PLAIN', { snapshot: true }),
    })
    const all = listen(`${at.url}/streams/all`)
    const odd = listen(`${at.url}/streams/odd?key=ATL&key=LAX`)
    const missed = listen(`${at.url}/streams/odd?lastEventId=0&key=ORD`)
    const last = listen(`${at.url}/streams/last`)
    await until(() => at.unit.stats!().clients === 4 && last.events.length === 2)
    expect(numbers(last.events)).toEqual([4, 5])
    await fly('PLAIN', 6, 12)
    await until(() => all.events.length === 12)
    expect(numbers(all.events)).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
    await until(() => odd.events.length === 4 && missed.events.length === 3)
    expect(numbers(odd.events)).toEqual([9, 11, 15, 17])
    expect(numbers(missed.events)).toEqual([1, 7, 13])
    for (const browser of [all, odd, missed, last]) browser.close()
    expect(await codeOf(start({ none: fromStream('NONE') }))).toBe('STREAM_NOT_FOUND')
  })

  it('is replayed from a time, of storage or of the events themselves, and goes on live', async () => {
    await ensureStream(nats.bus, { name: 'PAST', subjects: ['PAST.*'] })
    await fly('PAST', 0, 100)
    await using at = await start({
      stored: fromStream('PAST', { subject: 'PAST.even' }),
      flown: fromStream<Flight>('PAST', { time: ({ hour }) => hour }),
    })
    for (const from of [
      'gate 12',
      '2001-02-31',
      '2001-01-02T00:00:00',
      '2001-01-02T00:00:00 02:00',
      '99999999999999999',
    ]) {
      const response = await fetch(`${at.url}/streams/stored?from=${encodeURIComponent(from)}`)
      expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('RFC 3339')])
    }
    const stored = listen(`${at.url}/streams/stored?from=2001-01-02T00:00Z`)
    const flown = listen(`${at.url}/streams/flown?from=2001-01-02T00:00Z`)
    const later = listen(`${at.url}/streams/flown?from=2040-01-01`)
    const filtered = listen(`${at.url}/streams/flown?from=${Date.UTC(2001, 0, 4)}&filter=delay>17`)
    await until(() => stored.events.length === 50 && flown.events.length === 76 && filtered.events.length === 4)
    expect(numbers(stored.events)[0]).toBe(0)
    await fly('PAST', 100, 10)
    await until(() => flown.events.length === 86 && later.events.length === 10 && stored.events.length === 55)
    expect(numbers(flown.events)).toEqual(Array.from({ length: 86 }, (_, i) => 24 + i))
    expect(numbers(filtered.events)).toEqual([78, 79, 98, 99])
    for (const browser of [stored, flown, later, filtered]) browser.close()
  })

  it('is filtered by what the client wants, once for all that want the same', async () => {
    await ensureStream(nats.bus, { name: 'SIEVE', subjects: ['SIEVE.*'] })
    await using at = await start({ flights: fromStream('SIEVE') })
    const filter = encodeURIComponent('delay>15,origin==ATL|ORD')
    const two = [1, 2].map(() => listen(`${at.url}/streams/flights?filter=${filter}`))
    const other = listen(`${at.url}/streams/flights?filter=n<2`)
    await until(() => at.unit.stats!().clients === 3)
    await fly('SIEVE', 0, 40)
    const wanted = Array.from({ length: 40 }, (_, n) => flight(n)).filter((f) => f.delay > 15 && f.origin !== 'LAX')
    await until(() => two.every(({ events }) => events.length === wanted.length) && other.events.length === 2)
    expect(numbers(two[0]!.events)).toEqual(wanted.map(({ n }) => n))
    const back = listen(`${at.url}/streams/flights?filter=${filter}`, { 'Last-Event-ID': '10' })
    await until(() => back.events.length > 0 && back.events.length === wanted.filter(({ n }) => n >= 10).length)
    for (const browser of [...two, other, back]) browser.close()
    const response = await fetch(`${at.url}/streams/flights?filter=delay`)
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, 'INVALID_FILTER'])
  })

  it('sends a gap to a client whose position belongs to a stream that was made anew', async () => {
    const spec = { name: 'ANEW', subjects: ['ANEW.*'] }
    await ensureStream(nats.bus, spec)
    await fly('ANEW', 0, 20)
    await removeStream(nats.bus, 'ANEW')
    await ensureStream(nats.bus, spec)
    await fly('ANEW', 0, 3)
    await using at = await start({ anew: fromStream('ANEW') })
    const browser = listen(`${at.url}/streams/anew`, { 'Last-Event-ID': '20' })
    await until(() => browser.events.length === 4)
    expect(browser.events[0]).toMatchObject({ event: 'gap', data: '{"after":20,"firstAvailable":1}' })
    expect(numbers(browser.events.slice(1))).toEqual([0, 1, 2])
    browser.close()
  })

  it('goes on in a stream that is made anew, after a gap that everybody is sent', async () => {
    const spec = { name: 'AGAIN', subjects: ['AGAIN.*'] }
    await ensureStream(nats.bus, spec)
    for (const snapshot of [false, true]) {
      await using at = await start({ again: fromStream('AGAIN', { snapshot }) })
      const browser = listen(`${at.url}/streams/again`)
      await until(() => at.unit.stats!().clients === 1)
      await fly('AGAIN', 0, 5)
      await until(() => numbers(browser.events.filter(({ event }) => event === 'again')).includes(4))
      await removeStream(nats.bus, 'AGAIN')
      await ensureStream(nats.bus, spec)
      await fly('AGAIN', 5, 3)
      await until(() => numbers(browser.events.filter(({ event }) => event === 'again')).includes(7))
      const gap = browser.events.findIndex(({ event }) => event === 'gap')
      expect(JSON.parse(browser.events[gap]!.data)).toEqual({ after: 5, firstAvailable: 1 })
      const after = numbers(browser.events.slice(gap).filter(({ event }) => event === 'again'))
      expect(after.slice(-2)).toEqual([6, 7]) // of a snapshot, the last of each subject
      if (!snapshot) expect(after).toEqual([5, 6, 7])
      browser.close()
      await removeStream(nats.bus, 'AGAIN')
      await ensureStream(nats.bus, spec)
    }
  })

  it('has a row of each subject in its snapshot, whatever their last tokens are', async () => {
    await ensureStream(nats.bus, { name: 'DEEP', subjects: ['DEEP.>'] })
    for (const [subject, n] of [
      ['DEEP.east.a', 1],
      ['DEEP.west.a', 2],
      ['DEEP.east.a', 3],
      ['DEEP.a', 4],
    ] as const) {
      await persist(nats.bus, subject, Buffer.from(`{"n":${n}}`), { deadline: now() + 5_000 })
    }
    await using at = await start({ deep: fromStream('DEEP', { snapshot: true }) })
    const all = listen(`${at.url}/streams/deep`)
    const some = listen(`${at.url}/streams/deep?keys=a`)
    for (const browser of [all, some]) {
      await until(() => browser.events.filter(({ event }) => event === 'deep').length === 3)
      expect(numbers(browser.events.filter(({ event }) => event === 'deep')).sort()).toEqual([2, 3, 4])
      browser.close()
    }
  })
})

describe('a KV table', () => {
  it('gives every key, then every change and deletion, also to a client that was away', async () => {
    const table = await new Kvm(nats.bus.nats).create('gates', { history: 1 })
    await using at = await start({ gates: fromTable<{ open: boolean }>('gates') })
    const empty = listen(`${at.url}/streams/gates`)
    await until(() => at.unit.stats!().clients === 1)
    await table.put('t.a1', '{"open":true}')
    await table.put('t.a2', 'not json "quoted"')
    await until(() => empty.events.length === 2)
    expect(empty.events.map(({ data }) => JSON.parse(data))).toEqual([
      { key: 't.a1', value: { open: true } },
      { key: 't.a2', value: 'not json "quoted"' },
    ])
    const seen = empty.events[1]!.id!
    await table.put('t.a3', '{"open":false}')
    await table.delete('t.a1')
    await until(() => empty.events.length === 4)
    expect(empty.events[3]).toMatchObject({ event: 'gates', data: '{"key":"t.a1","deleted":true}' })
    const fresh = listen(`${at.url}/streams/gates`)
    const back = listen(`${at.url}/streams/gates`, { 'Last-Event-ID': seen })
    const open = listen(`${at.url}/streams/gates?filter=value.open==true`)
    await until(() => fresh.events.length === 2 && back.events.length === 2)
    expect(fresh.events.map(({ data }) => JSON.parse(data).key)).toEqual(['t.a2', 't.a3'])
    expect(back.events.map(({ data }) => JSON.parse(data))).toEqual([
      { key: 't.a3', value: { open: false } },
      { key: 't.a1', deleted: true },
    ])
    await table.put('t.a4', '{"open":true}')
    await table.purge('t.a2')
    await until(() => open.events.length === 2)
    expect(open.events.map(({ data }) => JSON.parse(data))).toEqual([
      { key: 't.a4', value: { open: true } },
      { key: 't.a2', deleted: true }, // whoever may have had it must know
    ])
    for (const browser of [empty, fresh, back, open]) browser.close()
    // a gateway that starts later knows no deleted keys
    await using later = await start({ gates: fromTable('gates') })
    const snapshot = listen(`${later.url}/streams/gates`)
    await until(() => snapshot.events.length === 2)
    expect(snapshot.events.map(({ data }) => JSON.parse(data).key)).toEqual(['t.a3', 't.a4'])
    snapshot.close()
    // what each key was in between is gone from the bucket, and no gap
    const behind = listen(`${later.url}/streams/gates`, { 'Last-Event-ID': '1' })
    await until(() => behind.events.length === 4)
    expect(behind.events.map(({ event, data }) => [event, JSON.parse(data).key])).toEqual([
      ['gates', 't.a3'],
      ['gates', 't.a1'],
      ['gates', 't.a4'],
      ['gates', 't.a2'],
    ])
    behind.close()
    expect(await codeOf(start({ none: fromTable('nothing') }))).toBe('STREAM_NOT_FOUND')
  })

  it('whose keys expired while a client was away is sent anew, after a gap', async () => {
    const table = await new Kvm(nats.bus.nats).create('brief', { history: 1, ttl: 300 })
    await table.put('old', '1')
    await until(async () => (await streamInfo(nats.bus, 'KV_brief'))!.state.messages === 0)
    await table.put('new', '2')
    await using at = await start({ brief: fromTable('brief') })
    const browser = listen(`${at.url}/streams/brief`, { 'Last-Event-ID': '0' })
    await until(() => browser.events.length === 2)
    expect(browser.events.map(({ event, data }) => [event, data])).toEqual([
      ['gap', '{"after":0,"firstAvailable":2}'],
      ['brief', '{"key":"new","value":2}'],
    ])
    browser.close()
  })
})
