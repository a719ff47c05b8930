import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { type Bus, deleteMessage, ensureStream, now, removeStream, streamInfo } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve } from '../service/index.ts'
import {
  count,
  event,
  inspectProcessor,
  processed,
  processor,
  readView,
  sum,
  tumbling,
  type ViewRow,
  view,
} from './index.ts'

const nats = withNats()
let names = 0

const Total = z.object({ room: z.string(), n: z.number(), total: z.number() })

/** Rooms with what was read in them so far. */
function totals(partitions = 1) {
  names += 1
  const readings = contract(`seen${names}`, {
    version: '1.0.0',
    events: {
      read: {
        payload: z.object({ at: z.number(), room: z.string(), value: z.number() }),
        key: 'room',
        durable: true,
      },
    },
  })
  const rooms = view(`rooms${names}`, { key: 'room', row: Total })
  const unit = processor(
    `totals${names}`,
    { from: event(readings, 'read'), to: rooms, partitions, termMs: 600 },
    (input) => input.keyBy((r) => r.room).aggregate({ n: count(), total: sum((r) => r.value) }),
  )
  const put = (room: string, value: number, at = 0) => client(nats.bus, readings).read.publish({ at, room, value })
  return { readings, rooms, unit, put }
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
async function take<Row>(rows: AsyncIterable<ViewRow<Row>>, count: number): Promise<ViewRow<Row>[]> {
  const taken: ViewRow<Row>[] = []
  for await (const row of rows) if (taken.push(row) === count) break
  return taken
}

describe('readView', () => {
  it('gives the last row of a key, the last of each, and rows as they change, typed by the row', async () => {
    const { rooms } = totals()
    await using rows = readView(nats.bus, rooms)
    expect(await rows.all()).toEqual(new Map()) // nobody has made the view yet
    expect(await rows.get('a')).toBeUndefined()
    const changes = rows.changes()
    await changes.ready()
    const row = (room: string, n: number) => ({ room, n, total: n })
    for (const [room, n] of [
      ['a', 1],
      ['b', 1],
      ['a', 2],
    ] as const) {
      nats.bus.publish(`view.${rooms.name}.${room}`, json(row(room, n)))
    }
    expect(await take(changes, 3)).toEqual([
      { key: 'a', row: row('a', 1), position: { stream: rooms.spec.name, sequence: 1 } },
      { key: 'b', row: row('b', 1), position: { stream: rooms.spec.name, sequence: 2 } },
      { key: 'a', row: row('a', 2), position: { stream: rooms.spec.name, sequence: 3 } },
    ])
    expect(await rows.get('a')).toEqual(row('a', 2))
    expect(await rows.all()).toEqual(
      new Map([
        ['a', row('a', 2)],
        ['b', row('b', 1)],
      ]),
    )
    const history = async (key?: string) => {
      const found: number[] = []
      for await (const { position } of rows.history(key === undefined ? {} : { key })) found.push(position.sequence)
      return found
    }
    expect(await history()).toEqual([1, 2, 3])
    expect(await history('a')).toEqual([1, 3])
    expect(await history('nobody')).toEqual([])
    const latest = await take(rows.changes({ from: 'last-per-subject' }), 2)
    expect(latest.map(({ key, position }) => [key, position.sequence])).toEqual([
      ['b', 2],
      ['a', 3],
    ])
    const read = await rows.get('a')
    expectTypeOf(read).toEqualTypeOf<{ room: string; n: number; total: number } | undefined>()
    expect(await codeOf(rows.get('a.b'))).toBe('INVALID_INPUT')
    expect(await codeOf(rows.get('*'))).toBe('INVALID_INPUT')
  })

  it('leaves out what was removed, and what somebody else wrote there that is no JSON', async () => {
    const { rooms } = totals()
    const bus = await nats.connect()
    const reported: string[] = []
    bus.on((event) => {
      if (event.type === 'error') reported.push(event.error.message)
    })
    await using rows = readView(bus, rooms)
    await rows.all()
    const at = (room: string) => `view.${rooms.name}.${room}`
    const one = { room: 'a', n: 1, total: 1 }
    for (const room of ['a', 'b', 'c', 'd']) nats.bus.publish(at(room), json({ ...one, room }))
    nats.bus.publish(at('b'), Buffer.from('hello'))
    nats.bus.publish(at('c'), Buffer.alloc(0))
    await until(async () => (await streamInfo(nats.bus, rooms.spec.name))!.state.last_seq === 6)
    await deleteMessage(nats.bus, rooms.spec.name, 4) // d, as when it expires
    expect([...(await rows.all()).keys()]).toEqual(['a'])
    expect(reported).toEqual([expect.stringMatching(/"b" is no JSON/)])
    expect(await codeOf(rows.get('b'))).toBe('MALFORMED_PAYLOAD')
    expect(await rows.get('c')).toBeUndefined()
    expect(await rows.get('d')).toBeUndefined()
    expect((await take(rows.changes({ from: 'start' }), 3)).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
  })

  it('holds as many rows as it may, and gives a slow reader all of them', async () => {
    const { rooms } = totals()
    await ensureStream(nats.bus, rooms.spec)
    for (let n = 1; n <= 500; n++) nats.bus.publish(`view.${rooms.name}.r${n}`, json({ room: `r${n}`, n, total: n }))
    const bus = await nats.connect()
    await using rows = readView(bus, rooms)
    const changes = rows.changes({ from: 'start', maxPending: 10 })
    const seen: number[] = []
    for await (const { row } of changes) {
      if (seen.length % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 20))
      if (seen.push(row.n) === 500) break
    }
    expect(seen).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
  })

  it('ends with close(), and with an error when the view was made anew', async () => {
    const { rooms } = totals()
    const rows = readView(nats.bus, rooms)
    const waiting = rows.changes()
    await waiting.ready()
    const ended = waiting.next()
    await rows.close()
    expect(await ended).toEqual({ done: true, value: undefined })
    const follows = rows.changes({ from: 'start' })
    await follows.ready()
    nats.bus.publish(`view.${rooms.name}.a`, json({}))
    await follows.next()
    const next = codeOf(follows.next())
    await removeStream(nats.bus, rooms.spec.name)
    await ensureStream(nats.bus, rooms.spec)
    expect(await next).toBe('STREAM_MISMATCH')
    await rows.close()
  })
})

describe('processed', () => {
  const many = async (bus: Bus, { rooms, unit, put }: ReturnType<typeof totals>, rounds: number) => {
    await using rows = readView(bus, rooms)
    const one = async (room: string) => {
      for (let n = 1; n <= rounds; n++) {
        await processed(bus, unit, await put(room, 2), { deadline: now() + 20_000 })
        expect(await rows.get(room)).toEqual({ room, n, total: 2 * n })
      }
    }
    await Promise.all(Array.from({ length: 8 }, (_, i) => one(`r${i}`)))
  }

  it.each([1, 4])('is followed by the row, 200 times, with %i partitions', async (partitions) => {
    const seen = totals(partitions)
    const running = await serve(await nats.connect(), seen.unit)
    await many(nats.bus, seen, 25)
    await running.drain()
  })

  it.each([1, 4])('goes on through a restart of the processor, with %i partitions', async (partitions) => {
    const seen = totals(partitions)
    await using rows = readView(nats.bus, seen.rooms)
    const bus = await nats.connect()
    await serve(bus, seen.unit)
    const first = await seen.put('a', 1)
    await processed(nats.bus, seen.unit, first)
    await bus.nats.close() // it dies
    const second = await seen.put('a', 1)
    const waiting = processed(nats.bus, seen.unit, second, { deadline: now() + 30_000 })
    const running = await serve(await nats.connect(), seen.unit)
    await waiting
    expect(await rows.get('a')).toMatchObject({ n: 2 })
    await processed(nats.bus, seen.unit, first) // it was, and stays so
    await running.drain()
  })

  it('also means the windows of other partitions that the event closed', async () => {
    const { readings, put } = totals()
    const hours = view(`hours${names}`, { key: 'room' })
    const unit = processor(`hourly${names}`, { from: event(readings, 'read'), to: hours, partitions: 4 }, (input) =>
      input
        .time((r) => r.at)
        .keyBy((r) => r.room)
        .window(tumbling(1_000))
        .aggregate({ n: count() }),
    )
    const running = await serve(await nats.connect(), unit)
    await using rows = readView(nats.bus, hours)
    for (let hour = 1; hour <= 5; hour++) {
      for (const room of ['a', 'b', 'c', 'd', 'e']) await put(room, 1, hour * 1_000)
      await processed(nats.bus, unit, await put('f', 1, hour * 1_000 + 1_000))
      const found = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((room) => rows.get(room)))
      const start = new Date(hour * 1_000).toISOString()
      expect(found.map((row) => Date.parse(String((row as { start?: string })?.start)))).toEqual(
        Array.from({ length: 5 }, () => Date.parse(start)),
      )
    }
    await running.drain()
  })

  it('says what it waits for when the deadline passes, and what it cannot wait for', async () => {
    const { unit, put, rooms } = totals()
    const stored = await put('a', 1)
    const soon = { deadline: now() + 50 }
    await expect(processed(nats.bus, unit, stored, soon)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringMatching(/processor 'totals\d+' .* EVT_seen\d+_read up to 1 .*no instance of it answers/),
    })
    const running = await serve(await nats.connect(), unit)
    await processed(nats.bus, unit.name, stored)
    const elsewhere = { stream: 'ELSEWHERE', sequence: 1 }
    await expect(processed(nats.bus, unit, elsewhere)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/does not read ELSEWHERE; it reads EVT_seen/),
    })
    expect(await codeOf(processed(nats.bus, unit, { ...stored, sequence: 99 }))).toBe('STREAM_MISMATCH')
    expect(await codeOf(processed(nats.bus, unit, undefined as never))).toBe('INVALID_OPTION')
    expect(await codeOf(processed(nats.bus, unit, stored, { signal: AbortSignal.abort() }))).toBe('none')
    expect((await inspectProcessor(nats.bus, unit.name))[0]?.partitions[0]).toMatchObject({ written: 1, position: 1 })
    expect(await readView(nats.bus, rooms).get('a')).toEqual({ room: 'a', n: 1, total: 1 })
    await running.drain()
  })
})
