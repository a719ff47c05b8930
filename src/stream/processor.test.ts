import { Kvm } from '@nats-io/kv'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { rowsOf as viewRows } from '../../test/support/rows.ts'
import { type Bus, ensureStream, lastMessage, persist, streamInfo, streamWriter } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, deadLetters, serve, service } from '../service/index.ts'
import type { RunningUnit } from '../unit/internal.ts'
import { count, type Effect, endOfInput, event, job, processor, sum, tumbling, view } from './index.ts'

const nats = withNats()
let names = 0

/** A sensor contract with streams of its own. */
function sensor() {
  names += 1
  const readings = contract(`sensor${names}`, {
    version: '1.0.0',
    events: {
      read: { payload: z.object({ at: z.number(), room: z.string(), value: z.number() }), key: 'room', durable: true },
    },
    jobs: { alarm: { payload: z.object({ at: z.number(), room: z.string(), value: z.number() }) } },
  })
  const name = `rooms${names}`
  const rooms = (options: { checkpointMs?: number; windowMs?: number; effect?: Effect<Reading> } = {}) =>
    processor(
      name,
      {
        from: event(readings, 'read'),
        to: view(name, { key: 'room' }),
        checkpointMs: options.checkpointMs ?? 50,
      },
      (input) =>
        (options.effect
          ? input.branch(
              (r) => r.value > 99,
              (hot) => hot.to(options.effect!),
            )
          : input
        )
          .time((r) => r.at)
          .keyBy((r) => r.room)
          .window(tumbling(options.windowMs ?? 1_000), { as: 'from' })
          .aggregate({ n: count(), total: sum((r) => r.value) }),
    )
  return { readings, name, rooms }
}
interface Reading {
  at: number
  room: string
  value: number
}

const statOf = (unit: RunningUnit, key: string) => unit.stats!()[key]!

const stored = async (name: string) => (await streamInfo(nats.bus, `VIEW_${name}`))?.state.last_seq ?? 0

async function rowsOf(bus: Bus, name: string): Promise<string[]> {
  if ((await stored(name)) === 0) return []
  return (await viewRows(bus, name)).map((row) => `${row.room} ${row.from} ${row.n} ${row.total}`)
}

describe('processor', () => {
  it('turns events into rows, closes windows by event time, and the last ones at the end of the input', async () => {
    const { readings, name, rooms } = sensor()
    await using unit = await serve(nats.bus, rooms())
    const api = client(nats.bus, readings)
    for (const [at, room, value] of [
      [100, 'a', 1],
      [200, 'b', 2],
      [900, 'a', 3],
      [1_500, 'a', 4],
    ] as const)
      await api.read.publish({ at, room, value })
    await until(() => statOf(unit, 'out') === 2)
    const end = endOfInput(readings, 'read')
    await persist(nats.bus, end.subject, end.data, { deadline: Date.now() + 5_000, headerLines: end.headerLines })
    await unit.done
    expect(await rowsOf(nats.bus, name)).toEqual([
      'a 1970-01-01T00:00:00Z 2 4',
      'b 1970-01-01T00:00:00Z 1 2',
      'a 1970-01-01T00:00:01Z 1 4',
    ])
  })

  it('leaves out what cannot be used, counts it, and goes on', async () => {
    const { readings, rooms } = sensor()
    await using unit = await serve(nats.bus, rooms())
    const subject = `evt.${readings.name}.read.x`
    const put = (text: string) => persist(nats.bus, subject, Buffer.from(text), { deadline: Date.now() + 5_000 })
    await put('{"at":1,"room":"a","value":1}')
    await put('not json')
    await put('{"at":1,"room":"a"}')
    await put('{"at":1,"room":"no dots. please","value":1}')
    await put('{"at":1,"room":"a","value":1}')
    await until(() => statOf(unit, 'in') === 5)
    expect(statOf(unit, 'rejected')).toBe(3)
    expect(statOf(unit, 'open')).toBe(2)
  })

  it('reads events in structured mode as the events they are', async () => {
    const { readings, rooms } = sensor()
    await using unit = await serve(nats.bus, rooms())
    const put = (id: string, data: unknown) =>
      persist(
        nats.bus,
        `evt.${readings.name}.read.x`,
        Buffer.from(JSON.stringify({ specversion: '1.0', id, source: '/x', type: 'x', data })),
        { deadline: Date.now() + 5_000, headerLines: 'content-type:application/cloudevents+json\r\n' },
      )
    await put('1', { at: 1, room: 'a', value: 1 })
    await put('', { at: 1, room: 'b', value: 1 }) // no event: its id is empty
    await until(() => statOf(unit, 'in') === 2)
    expect(statOf(unit, 'open')).toBe(1)
    expect(statOf(unit, 'rejected')).toBe(1)
  })

  it('leaves out events in binary mode whose id or time is none', async () => {
    const { readings, rooms } = sensor()
    await using unit = await serve(nats.bus, rooms())
    const put = (lines: string) =>
      persist(nats.bus, `evt.${readings.name}.read.x`, Buffer.from('{"at":1,"room":"a","value":1}'), {
        deadline: Date.now() + 5_000,
        headerLines: lines,
      })
    for (const lines of ['', 'X-Trace:1\r\n', 'ce-id:1\r\nce-time:2026-01-02T03:04:05Z\r\n', 'CE-ID:a%20b\r\n'])
      await put(lines)
    for (const lines of ['ce-id:\r\n', 'Ce-Time:gate 12\r\n', 'ce-id:1\r\nce-time:2026-02-30T03:04:05Z\r\n'])
      await put(lines)
    await until(() => statOf(unit, 'in') === 7)
    expect(statOf(unit, 'rejected')).toBe(3)
  })

  it('counts what comes after its window was closed for good', async () => {
    const { readings, rooms } = sensor()
    await using unit = await serve(nats.bus, rooms())
    const api = client(nats.bus, readings)
    for (const at of [100, 5_000, 200]) await api.read.publish({ at, room: 'a', value: 1 })
    await until(() => statOf(unit, 'in') === 3)
    expect(statOf(unit, 'late')).toBe(1)
  })

  it('goes on from its checkpoint and repeats no row, however it ended', async () => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const total = 400
    let sent = 0
    for (let life = 0; life < 4; life++) {
      // a connection that is cut without a word: neither the last rows nor the last checkpoint may have arrived
      const bus = await nats.connect()
      const unit = await serve(bus, rooms({ checkpointMs: 20 }))
      for (let i = 0; i < total / 4; i++, sent++) await api.read.publish({ at: sent * 100, room: 'a', value: sent })
      await until(() => statOf(unit, 'in') > 0)
      await bus.nats.close()
    }
    await using unit = await serve(nats.bus, rooms())
    await until(() => statOf(unit, 'position') === total)
    await until(async () => (await stored(name)) === total / 10 - 1)
    const rows = await rowsOf(nats.bus, name)
    expect(rows).toEqual(
      Array.from({ length: total / 10 - 1 }, (_, i) => {
        const from = new Date(i * 1_000).toISOString().replace('.000Z', 'Z')
        return `a ${from} 10 ${100 * i + 45}`
      }),
    )
  })

  it('of two instances one works and the other takes over when it leaves, or dies', async () => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const dying = await nats.connect()
    const first = await serve(dying, rooms())
    const second = await serve(await nats.connect(), rooms())
    const third = await serve(await nats.connect(), rooms())
    for (let i = 0; i < 50; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(() => statOf(first, 'out') === 24)
    expect([first, second, third].map((unit) => statOf(unit, 'partitions'))).toEqual([1, 0, 0])
    await dying.nats.close() // without a word
    await until(() => statOf(second, 'partitions') + statOf(third, 'partitions') === 1)
    const [works, waits] = statOf(second, 'partitions') === 1 ? [second, third] : [third, second]
    for (let i = 50; i < 100; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(() => statOf(works, 'out') === 49)
    const left = performance.now()
    await works.drain()
    await until(() => statOf(waits, 'partitions') === 1)
    expect(performance.now() - left).toBeLessThan(1_500) // one that says goodbye need not be missed first
    for (let i = 100; i < 200; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(async () => (await stored(name)) === 99)
    await waits.drain()
    const rows = await rowsOf(nats.bus, name)
    expect(rows.length).toBe(99)
    expect(new Set(rows).size).toBe(99)
  })

  it('an instance that was taken for dead and is not is refused by the streams, and the view stays right', async () => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const first = await serve(await nats.connect(), rooms())
    for (let i = 0; i < 50; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(() => statOf(first, 'out') === 24)
    // somebody else gets its partition while it still works
    const kv = await new Kvm(nats.bus.nats).open('MYELIN_PARTITIONS')
    await kv.purge(`${name}.p.0`)
    const second = await serve(await nats.connect(), rooms())
    for (let i = 50; i < 200; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(async () => (await stored(name)) === 99)
    await until(() => statOf(first, 'partitions') + statOf(second, 'partitions') === 1)
    await first.drain()
    await second.drain()
    const rows = await rowsOf(nats.bus, name)
    expect(rows.length).toBe(99)
    expect(new Set(rows).size).toBe(99)
  })

  it('refuses a checkpoint of another program, and says how to begin again', async () => {
    const { readings, name, rooms } = sensor()
    await client(nats.bus, readings).read.publish({ at: 1, room: 'a', value: 1 })
    const unit = await serve(nats.bus, rooms())
    await until(() => statOf(unit, 'in') === 1)
    await unit.drain()
    const refused = serve(nats.bus, rooms({ windowMs: 2_000 }))
    expect(await codeOf(refused)).toBe('STREAM_MISMATCH')
    await expect(refused).rejects.toThrow(`CKPT_${name}`)
  })

  it.each(['part', 'commit'])('passes over a checkpoint with a damaged %s to the one before it', async (what) => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const unit = await serve(nats.bus, rooms())
    for (let i = 0; i < 30; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    await until(() => statOf(unit, 'in') === 30)
    await unit.drain()
    const stream = `CKPT_${name}`
    const last = (await lastMessage(nats.bus, stream, `ckpt.${name}.0.commit`))!
    const writer = await streamWriter(nats.bus, stream)
    if (what === 'part') {
      writer.add(`ckpt.${name}.0.part`, Buffer.from('[[0,"half a check'), 'Myelin-Checkpoint:9.x 12345\r\n')
      const commit = { ...JSON.parse(Buffer.from(last.data).toString()), id: '9.x', parts: 1 }
      writer.add(`ckpt.${name}.0.commit`, Buffer.from(JSON.stringify(commit)))
    } else writer.add(`ckpt.${name}.0.commit`, Buffer.from('{"half a com'))
    await writer.flush()
    for (let life = 0; life < 2; life++) {
      await using again = await serve(nats.bus, rooms())
      for (let i = 0; i < 10; i++) await api.read.publish({ at: (30 + 10 * life + i) * 500, room: 'a', value: 1 })
      await until(() => statOf(again, 'position') === 40 + 10 * life)
    }
    expect(await stored(name)).toBe(24)
    const rows = await rowsOf(nats.bus, name)
    expect(rows.length).toBe(24)
    expect(rows.every((row) => row.endsWith(' 2 2'))).toBe(true)
  })

  it('keeps its checkpoints short: changes, now and then a new base, nothing before the base before', async () => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const stream = `CKPT_${name}`
    const keys = 3_000
    const lives = 8
    let firstSequence = 0
    for (let life = 0; life < lives; life++) {
      await using unit = await serve(nats.bus, rooms({ checkpointMs: 20 }))
      expect(statOf(unit, 'keys')).toBe(life * keys)
      const stored: Promise<unknown>[] = []
      for (let i = 0; i < keys; i++) {
        const room = `r${life * keys + i}-${'x'.repeat(100)}` // half a megabyte of state per life
        stored.push(api.read.publish({ at: 1, room, value: 1 }))
      }
      await Promise.all(stored)
      await until(() => statOf(unit, 'keys') === (life + 1) * keys)
      firstSequence = (await streamInfo(nats.bus, stream))!.state.first_seq
    }
    expect(firstSequence).toBeGreaterThan(1) // the log was cut
    await using unit = await serve(nats.bus, rooms())
    expect([statOf(unit, 'keys'), statOf(unit, 'open')]).toEqual([lives * keys, lives * keys])
    expect((await streamInfo(nats.bus, stream))!.state.bytes).toBeLessThan(5 * lives * keys * 200)
  })

  it('waits while its view is full, and loses nothing', async () => {
    const { readings, name, rooms } = sensor()
    const api = client(nats.bus, readings)
    const { spec } = view(name, { key: 'room' })
    const unit = await serve(nats.bus, rooms())
    await ensureStream(nats.bus, { ...spec, maxMessages: 5 })
    for (let i = 0; i < 40; i++) await api.read.publish({ at: i * 500, room: 'a', value: 1 })
    // a slow machine makes several batches of the rows, and the processor waits behind the first that does not fit
    await until(() => statOf(unit, 'out') > 5)
    // a batch is stored as a whole or not at all
    expect((await streamInfo(nats.bus, spec.name))!.state.messages).toBeLessThanOrEqual(5)
    await ensureStream(nats.bus, spec)
    await until(async () => (await streamInfo(nats.bus, spec.name))!.state.messages === 19)
    await unit.drain()
    expect((await rowsOf(nats.bus, name)).length).toBe(19)
  })

  it('enqueues jobs on the side, again and again until it succeeds, each once', async () => {
    const { readings, rooms } = sensor()
    const done: number[] = []
    await using _ = await serve(nats.bus, service(readings, { alarm: ({ at }) => void done.push(at) }))
    const effect = job(readings, 'alarm', { id: (r) => `at-${r.at}` })
    await using unit = await serve(nats.bus, rooms({ effect }))
    const api = client(nats.bus, readings)
    for (let i = 0; i < 20; i++) await api.read.publish({ at: i, room: 'a', value: i % 2 === 0 ? 100 : 1 })
    await until(() => statOf(unit, 'effects') === 10 && done.length === 10)
    expect(new Set(done).size).toBe(10)
    expect(await deadLetters(nats.bus, readings.name)).toEqual([])
  })

  it('does not move its checkpoint past an effect that fails', async () => {
    const { readings, rooms } = sensor()
    const bus = await nats.connect()
    const seen: number[] = []
    const effect: Effect<Reading> = {
      name: 'siren',
      open: (host) => async (reading) => {
        if (host.bus === bus) throw new Error('no power')
        seen.push(reading.at)
        return undefined
      },
    }
    const unit = await serve(bus, rooms({ effect }))
    await client(nats.bus, readings).read.publish({ at: 1, room: 'a', value: 100 })
    await until(() => statOf(unit, 'in') === 1)
    await bus.nats.close() // it dies with the effect undone
    await using again = await serve(nats.bus, rooms({ effect }))
    await until(() => statOf(again, 'effects') === 1)
    expect(seen).toEqual([1])
  })

  it('reads durable events only', () => {
    const plain = contract('plain', { version: '1.0.0', events: { tick: { payload: z.object({}) } } })
    // @ts-expect-error the compiler says so first
    expect(() => event(plain, 'tick')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  })
})
