import { Kvm } from '@nats-io/kv'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { ensureStream, readSpan, streamInfo } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve } from '../service/index.ts'
import type { RunningUnit } from '../unit/internal.ts'
import {
  bucket,
  count,
  endOfInput,
  enrich,
  errorStream,
  event,
  inspectProcessor,
  messages,
  partitionOf,
  processor,
  publish,
  rowsOf,
  sum,
  table,
  tumbling,
  view,
  viewStream,
} from './index.ts'

const nats = withNats()
let names = 0

const Reading = z.object({ at: z.number(), room: z.string(), value: z.number() })

function sensor() {
  names += 1
  const readings = contract(`parts${names}`, {
    version: '1.0.0',
    events: {
      read: { payload: Reading, key: 'room', durable: true },
      announced: { payload: z.object({ room: z.string(), n: z.number() }), key: 'room', durable: true },
    },
  })
  return { readings, name: `split${names}` }
}

const statOf = (unit: RunningUnit, key: string) => unit.stats!()[key]!

/** Everything a stream holds, as JSON. */
async function read(stream: string): Promise<{ subject: string; value: Record<string, unknown>; code?: string }[]> {
  const found: { subject: string; value: Record<string, unknown>; code?: string }[] = []
  if (!(await streamInfo(nats.bus, stream))) return found
  for await (const { subject, data, headers } of readSpan(nats.bus, stream)) {
    const text = Buffer.from(data).toString()
    const code = headers.get('Myelin-Error-Code')
    found.push({ subject, value: text.startsWith('{') ? JSON.parse(text) : { text }, ...(code ? { code } : {}) })
  }
  return found
}

describe('partitions', () => {
  it('are those that the server maps keys to', async () => {
    await ensureStream(nats.bus, { name: 'KEYS', subjects: ['keys.*'] })
    await ensureStream(nats.bus, {
      name: 'MAPPED',
      subjects: [],
      sources: [{ stream: 'KEYS', transforms: [{ from: 'keys.*', to: 'mapped.{{partition(7,1)}}.{{wildcard(1)}}' }] }],
    })
    const token = fc.stringMatching(/^[A-Za-z0-9_äß-]{1,12}$/)
    const keys = fc.sample(token, 200)
    for (const key of keys) nats.bus.publish(`keys.${key}`, Buffer.from('{}'))
    await until(async () => (await streamInfo(nats.bus, 'MAPPED'))!.state.messages === keys.length)
    for (const { subject } of await read('MAPPED')) {
      const [, partition, key = ''] = subject.split('.')
      expect(partitionOf(key, 7)).toBe(Number(partition))
    }
  })

  it('are shared by those who are there, move with their state, and nothing is lost or doubled', async () => {
    const { readings, name } = sensor()
    const rooms = processor(
      name,
      { from: event(readings, 'read'), to: view(name, { key: 'room' }), partitions: 6, checkpointMs: 50, termMs: 600 },
      (input) =>
        input
          .time((r) => r.at, { outOfOrder: 5_000 })
          .keyBy((r) => r.room)
          .window(tumbling(1_000), { as: 'from' })
          .aggregate({ n: count(), total: sum((r) => r.value) }),
    )
    const api = client(nats.bus, readings)
    const expected = new Map<string, number>()
    let sent = 0
    const send = async (events: number) => {
      const stored: Promise<unknown>[] = []
      for (let i = 0; i < events; i++, sent++) {
        const room = `r${sent % 37}`
        const at = sent * 7
        stored.push(api.read.publish({ at, room, value: sent }))
        const cell = `${room} ${Math.floor(at / 1_000) * 1_000}`
        expected.set(cell, (expected.get(cell) ?? 0) + sent)
      }
      await Promise.all(stored)
    }
    const held = (...units: RunningUnit[]) => units.map((unit) => statOf(unit, 'partitions')).sort()
    const first = await serve(await nats.connect(), rooms)
    expect(held(first)).toEqual([6])
    await send(500)
    const busOfSecond = await nats.connect()
    const second = await serve(busOfSecond, rooms)
    const third = await serve(await nats.connect(), rooms)
    await send(500)
    await until(() => String(held(first, second, third)) === '2,2,2')
    await send(500)
    await busOfSecond.nats.close() // it dies
    await send(500)
    await until(() => String(held(first, third)) === '3,3')
    await until(async () => (await inspectProcessor(nats.bus, name))[0]?.members === 2)
    await first.drain()
    await until(() => statOf(third, 'partitions') === 6)
    await send(500)
    const end = endOfInput(readings, 'read')
    nats.bus.publish(end.subject, end.data, end.headerLines)
    await third.done // every partition hears the end
    await until(async () => (await streamInfo(nats.bus, `VIEW_${name}`))!.state.messages >= expected.size)
    const rows = await read(`VIEW_${name}`)
    const found = new Map(rows.map(({ value: row }) => [`${row.room} ${Date.parse(row.from as string)}`, row.total]))
    expect(found).toEqual(expected)
    expect(rows.length).toBe(expected.size) // each once
    expect(statOf(third, 'late')).toBe(0)
    await third.drain()
  })

  it('have streams of their own, also beside a processor and a view whose name looks like that of a part', async () => {
    const { readings, name } = sensor()
    const counted = (as: string, partitions: number) =>
      processor(
        as,
        { from: event(readings, 'read'), to: view(as, { key: 'room' }), partitions, checkpointMs: 50 },
        (input) =>
          input
            .time((r) => r.at)
            .keyBy((r) => r.room)
            .window(tumbling(10))
            .aggregate({ n: count() }),
      )
    // the parts of one that an older version made keep the names they had
    const older = { name: `VIEW_${name}_0`, subjects: [`viewpart.${name}.0.*`] }
    await ensureStream(nats.bus, older)
    const units = [await serve(nats.bus, counted(name, 2)), await serve(await nats.connect(), counted(`${name}_1`, 1))]
    const api = client(nats.bus, readings)
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const at of [1, 100]) for (const room of keys) await api.read.publish({ at, room, value: 1 })
    const rooms = async (of: string) => (await read(viewStream(of))).map(({ value }) => value.room).sort()
    for (const as of [name, `${name}_1`]) {
      await until(async () => (await streamInfo(nats.bus, viewStream(as)))!.state.messages >= keys.length)
      expect(await rooms(as)).toEqual(keys)
    }
    expect((await streamInfo(nats.bus, older.name))!.state.messages).toBeGreaterThan(0)
    expect((await streamInfo(nats.bus, viewStream(name, 1)))!.config.name).toBe(`VIEWPART_${name}_1`)
    for (const unit of units) await unit.drain()
  })

  it('hear an end of input and no key that is called as its subject is', async () => {
    const { readings, name } = sensor()
    const unit = await serve(
      nats.bus,
      processor(name, { from: event(readings, 'read'), to: view(name, { key: 'room' }), partitions: 4 }, (input) =>
        input.keyBy((r) => r.room).rows(({ value }) => ({ value })),
      ),
    )
    const api = client(nats.bus, readings)
    for (const room of ['_end', 'a', '_end']) await api.read.publish({ at: 1, room, value: 1 })
    const end = endOfInput(readings, 'read')
    nats.bus.publish(end.subject, end.data, end.headerLines)
    await unit.done
    await until(async () => ((await streamInfo(nats.bus, viewStream(name)))?.state.messages ?? 0) >= 3)
    expect((await read(viewStream(name))).map(({ value }) => value.room).sort()).toEqual(['_end', '_end', 'a'])
    expect(statOf(unit, 'rejected')).toBe(0)
    await unit.drain()
  })

  it.each([
    ['that tell each other of their clocks', true],
    ['without a clock', false],
  ])('%s each hear the end of every source, once it has ended, also after they were cut off', async (_, timed) => {
    const { readings, name } = sensor()
    const made = (partitions: number) =>
      processor(
        `${name}-${partitions}`,
        {
          from: { read: event(readings, 'read'), announced: event(readings, 'announced') },
          to: view(`${name}-${partitions}`, { key: 'room' }),
          partitions,
          checkpointMs: 20,
        },
        ({ read, announced }) => {
          const all = read.merge(announced.map(({ room, n }) => ({ room, at: n, value: 1 })))
          const keyed = (timed ? all.time((r) => r.at, { outOfOrder: '10s' }) : all).keyBy((r) => r.room)
          return timed
            ? (keyed as ReturnType<ReturnType<typeof all.time>['keyBy']>)
                .window(tumbling(1_000))
                .aggregate({ n: count() })
            : keyed.aggregate({ n: count() })
        },
      )
    const runs = [1, 4]
    const start = () => Promise.all(runs.map(async (partitions) => serve(await nats.connect(), made(partitions))))
    const api = client(nats.bus, readings)
    const end = (of: 'read' | 'announced') => {
      const { subject, data, headerLines } = endOfInput(readings, of)
      nats.bus.publish(subject, data, headerLines)
    }
    const send = async (from: number) => {
      for (let i = from; i < from + 20; i++) {
        if (from < 40) await api.read.publish({ at: i * 100, room: `r${i % 7}`, value: i })
        await api.announced.publish({ room: `r${i % 7}`, n: i * 100 })
      }
    }
    const first = await start()
    await send(0)
    end('read')
    await send(20) // what comes of the one that ended counts as any other
    const inOf = (unit: RunningUnit) => statOf(unit, 'in')
    await until(() => first.every((unit) => inOf(unit) >= 81))
    const input = (await streamInfo(nats.bus, `IN_${name}-4`))!.state.last_seq
    await until(async () => {
      const [inspection] = await inspectProcessor(nats.bus, `${name}-4`)
      return inspection!.partitions.every(({ lag }) => lag === 0) && input > 81
    })
    await Promise.all(first.map((unit) => unit.drain()))
    const second = await start()
    await send(40)
    end('announced')
    await Promise.all(second.map((unit) => unit.done))
    const rows = async (partitions: number) =>
      (await read(viewStream(`${name}-${partitions}`))).map(({ value }) => JSON.stringify(value)).sort()
    const expected = await rows(1)
    await until(async () => (await rows(4)).length >= expected.length)
    expect(await rows(4)).toEqual(expected)
    expect(statOf(second[1]!, 'late')).toBe(statOf(second[0]!, 'late'))
    for (const unit of second) await unit.drain()
  })

  it('take nothing but ends where ends are passed on, and look up in a table that each has as a whole', async () => {
    const { readings, name } = sensor()
    const kv = await new Kvm(nats.bus.nats).create(`FLOORS${name}`)
    for (const [i, room] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) await kv.put(room, JSON.stringify({ floor: i }))
    const floors = processor(
      name,
      {
        from: {
          read: event(readings, 'read'),
          rooms: table(`FLOORS${name}`, { schema: z.object({ floor: z.number() }), everywhere: true }),
        },
        to: view(name, { key: 'room' }),
        partitions: 3,
      },
      ({ read, rooms }) =>
        read
          // of the room that comes next, which is another partition's for some
          .keyBy((r) => 'bcdefa'['abcdef'.indexOf(r.room)]!)
          .lookup(rooms, (r, room) => ({ ...r, floor: room.floor }), { kind: 'inner' })
          .keyBy((r) => r.room)
          .rows(({ floor }) => ({ floor })),
    )
    const unit = await serve(nats.bus, floors)
    const api = client(nats.bus, readings)
    for (const room of ['a', 'b', 'c', 'd', 'e', 'f']) await api.read.publish({ at: 1, room, value: 1 })
    const forged = Buffer.from(JSON.stringify({ at: 1, room: 'a', value: 1 }))
    for (const last of ['0', '7', 'x']) nats.bus.publish(`in.${name}.0.ends.${last}`, forged)
    await until(() => statOf(unit, 'rejected') === 3)
    await until(async () => (await streamInfo(nats.bus, viewStream(name)))!.state.messages >= 6)
    const rows = (await read(viewStream(name))).map(({ value }) => `${value.room}${value.floor}`)
    expect(rows.sort()).toEqual(['a1', 'b2', 'c3', 'd4', 'e5', 'f0'])
    const codes = new Set((await read(errorStream(name))).map(({ code }) => code))
    expect([...codes]).toEqual(['FOREIGN_MESSAGE'])
    // each reads one subject: a consumer of two is slow on a backlog
    const [inspection] = await inspectProcessor(nats.bus, name)
    expect(inspection!.partitions.map(({ subjects }) => subjects.length)).toEqual([1, 1, 1])
    await unit.drain()
  })

  it('refuse a program that is keyed by something else, event by event, and another number of partitions', async () => {
    const { readings, name } = sensor()
    const made = (partitions: number) =>
      processor(name, { from: event(readings, 'read'), to: view(name, { key: 'value' }), partitions }, (input) =>
        input
          .time((r) => r.at)
          .keyBy((r) => `v${r.value}`)
          .window(tumbling(1_000))
          .aggregate({ n: count() }),
      )
    const unit = await serve(nats.bus, made(4))
    const api = client(nats.bus, readings)
    for (let i = 0; i < 20; i++) await api.read.publish({ at: i, room: 'a', value: i })
    await until(() => statOf(unit, 'in') === 20)
    expect(statOf(unit, 'rejected')).toBeGreaterThan(5)
    expect((await read(errorStream(name)))[0]).toMatchObject({ code: 'WRONG_PARTITION' })
    await unit.drain()
    expect(await codeOf(serve(nats.bus, made(3)))).toBe('STREAM_MISMATCH')
    const bare = messages('X', { subject: 'x.y' })
    const program = (partitions: number) => () =>
      processor('x', { from: bare, partitions, to: view('x', { key: 'k' }) }, (input) =>
        input.keyBy(() => 'k').rows(() => ({})),
      )
    expect(program(2)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
    expect(program(1)).not.toThrow()
  })
})

describe('several sources', () => {
  it('are given one order: tables first, then what looks up in them; rows go to a view, an event and a bucket', async () => {
    const { readings, name } = sensor()
    const kv = await new Kvm(nats.bus.nats).create(`ROOMS${name}`)
    await kv.put('a', JSON.stringify({ floor: 1 }))
    await kv.put('b', JSON.stringify({ floor: 2 }))
    const api = client(nats.bus, readings)
    for (let i = 0; i < 30; i++) await api.read.publish({ at: i * 100, room: 'abc'[i % 3]!, value: 1 })
    const Room = z.object({ floor: z.number() })
    const floors = processor(
      name,
      {
        from: { read: event(readings, 'read'), rooms: table(`ROOMS${name}`, { schema: Room }) },
        to: view(name, { key: 'floor' }),
        checkpointMs: 50,
      },
      ({ read: input, rooms }) => {
        const rows = input
          .time((r) => r.at)
          .keyBy((r) => r.room)
          .lookup(rooms, (r, room) => ({ ...r, floor: room.floor }), { kind: 'inner' })
          .keyBy((r) => `floor${r.floor}`)
          .window(tumbling(1_000))
          .aggregate({ n: count() })
        return [
          rows,
          rows
            .stream('room')
            .map(({ room, n }) => ({ room, n }))
            .to(publish(readings, 'announced')),
          rows.to(bucket(`LAST${name}`)),
        ]
      },
    )
    const unit = await serve(nats.bus, floors)
    await until(() => statOf(unit, 'in') === 32)
    await kv.put('c', JSON.stringify({ floor: 1 }))
    await until(() => statOf(unit, 'in') === 33) // what comes later knows of it
    for (let i = 30; i < 60; i++) await api.read.publish({ at: i * 100, room: 'abc'[i % 3]!, value: 1 })
    await until(() => statOf(unit, 'in') === 63 && statOf(unit, 'effects') === 20)
    await until(async () => (await streamInfo(nats.bus, `VIEW_${name}`))!.state.messages === 10)
    const rows = (await read(`VIEW_${name}`)).map(
      ({ value }) => `${value.floor} ${(value.start as string).slice(17, 19)} ${value.n}`,
    )
    expect(rows.slice(0, 4)).toEqual(['floor1 00 4', 'floor2 00 3', 'floor1 01 3', 'floor2 01 4'])
    expect(rows.slice(6, 8)).toEqual(['floor1 03 7', 'floor2 03 3'])
    expect((await read(`EVT_${readings.name}_announced`)).length).toBe(rows.length)
    const last = await (await new Kvm(nats.bus.nats).open(`LAST${name}`)).get('floor1')
    expect(`floor1 04 ${last!.json<{ n: number }>().n}`).toBe(rows.at(-2))
    await unit.drain()
  })

  it.each([false, true])(
    'one goes on with what another makes, and asks a service in between; cached: %s',
    async (cached) => {
      const { readings, name } = sensor()
      const first = view(name, { key: 'room', row: z.object({ room: z.string(), start: z.string(), n: z.number() }) })
      const counts = processor(name, { from: event(readings, 'read'), to: first, checkpointMs: 50 }, (input) =>
        input
          .time((r) => r.at)
          .keyBy((r) => r.room)
          .window(tumbling(100))
          .aggregate({ n: count() }),
      )
      let asked = 0
      let underWay = 0
      let most = 0
      const named = enrich(
        rowsOf(first),
        async (row) => {
          asked += 1
          underWay += 1
          most = Math.max(most, underWay)
          await new Promise((resolve) => setTimeout(resolve, 20 * Math.random()))
          underWay -= 1
          return row.room.toUpperCase()
        },
        (row, name) => ({ ...row, name }),
        { concurrency: 8, ...(cached ? { cache: { key: (row) => row.room, forMs: 60_000 } } : {}) },
      )
      const seen: number[] = []
      const names = processor(`${name}-names`, { from: named, to: view(`${name}-names`, { key: 'name' }) }, (input) =>
        input
          .peek((row) => seen.push(Date.parse(row.start)))
          .keyBy((row) => row.name)
          .aggregate({ windows: count(), events: sum((row) => row.n) }),
      )
      const api = client(nats.bus, readings)
      for (let i = 0; i < 100; i++) await api.read.publish({ at: i * 50, room: 'ab'[i % 2]!, value: 1 })
      const one = await serve(nats.bus, counts)
      const two = await serve(nats.bus, names)
      await until(() => statOf(two, 'in') === 98)
      await until(async () => (await streamInfo(nats.bus, `VIEW_${name}-names`))!.state.messages === 98)
      const rows = await read(`VIEW_${name}-names`)
      expect(rows.at(-1)!.value).toEqual({ name: 'B', windows: 49, events: 49 })
      expect(seen).toEqual([...seen].sort((a, b) => a - b)) // answers in the order of the questions' values
      expect(asked).toBe(cached ? 2 : 98)
      expect(most).toBe(cached ? 2 : 8)
      await two.drain()
      await one.drain()
    },
  )
})

describe('the error output', () => {
  it('has what could not be used, as it came, with the reason, once', async () => {
    const { readings, name } = sensor()
    const rooms = processor(
      name,
      { from: event(readings, 'read'), to: view(name, { key: 'room' }), checkpointMs: 20 },
      (input) =>
        input
          .time((r) => r.at)
          .keyBy((r) => r.room)
          .window(tumbling(1_000))
          .aggregate({ n: count() }),
    )
    const put = (text: string) => nats.bus.publish(`evt.${readings.name}.read.x`, Buffer.from(text))
    const bus = await nats.connect()
    const unit = await serve(bus, rooms)
    put('not json')
    put(JSON.stringify({ at: 253_402_300_799_000, room: 'a', value: 1 }))
    put(JSON.stringify({ at: 1, room: 'a' }))
    put(JSON.stringify({ at: 1, room: 'a b', value: 1 }))
    put(JSON.stringify({ at: 1, room: 'a', value: 1 }))
    await until(() => statOf(unit, 'in') === 5)
    await until(async () => ((await streamInfo(nats.bus, errorStream(name)))?.state.messages ?? 0) === 4)
    await bus.nats.close()
    const again = await serve(nats.bus, rooms) // and reads some of it again
    put(JSON.stringify({ at: 2, room: 'a', value: 1 }))
    await until(() => statOf(again, 'position') === 6)
    const refused = await read(errorStream(name))
    expect(refused.map(({ code }) => code)).toEqual([
      'MALFORMED_PAYLOAD',
      'INVALID_INPUT',
      'INVALID_INPUT',
      'INVALID_INPUT',
    ])
    expect(refused[0]!.value).toEqual({ text: 'not json' })
    expect(statOf(again, 'open')).toBe(2)
    await again.drain()
  })
})

describe('time travel', () => {
  it('runs the same program again under another name, over a span of event time', async () => {
    const { readings, name } = sensor()
    const rooms = processor(name, { from: event(readings, 'read'), to: view(name, { key: 'room' }) }, (input) =>
      input
        .time((r) => r.at)
        .keyBy((r) => r.room)
        .window(tumbling('1h'))
        .aggregate({ n: count() }),
    )
    const api = client(nats.bus, readings)
    for (let hour = 0; hour < 48; hour++) await api.read.publish({ at: hour * 3_600_000, room: 'a', value: 1 })
    const unit = await serve(nats.bus, rooms)
    const config = { as: `${name}-again`, from: '1970-01-01T10:00:00Z', until: '1970-01-02' }
    const again = await serve(nats.bus, rooms, { config })
    await until(() => statOf(again, 'in') === 48 && statOf(unit, 'out') === 47)
    await until(async () => (await streamInfo(nats.bus, `VIEW_${name}-again`))!.state.messages >= 14)
    const rows = await read(`VIEW_${name}-again`)
    expect(rows.length).toBe(14)
    expect(rows[0]!.value.start).toBe('1970-01-01T10:00:00Z')
    expect(await codeOf(serve(nats.bus, rooms, { config: { from: 'yesterday' } }))).toBe('INVALID_CONFIG')
    await again.drain()
    await unit.drain()
  })
})
