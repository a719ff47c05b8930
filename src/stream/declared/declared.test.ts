import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../../test/support/nats.ts'
import { rowsOf } from '../../../test/support/rows.ts'
import { consume, ensureStream, lastMessage, persist, streamWriter } from '../../bus/internal.ts'
import { contract } from '../../contract/internal.ts'
import { client, ensureContractStreams } from '../../service/index.ts'
import { parseConfig, serve } from '../../unit/internal.ts'
import { declaredProcessor, readRejection } from '../index.ts'

const nats = withNats()
let names = 0

/** A stream of its own with these messages. */
async function streamOf(values: readonly unknown[]): Promise<{ stream: string; subject: string; name: string }> {
  names += 1
  const name = `declared${names}`
  await ensureStream(nats.bus, { name, subjects: [`${name}.*`] })
  const writer = await streamWriter(nats.bus, name)
  for (const value of values) writer.add(`${name}.x`, Buffer.from(JSON.stringify(value)))
  await writer.flush()
  return { stream: name, subject: `${name}.*`, name }
}

/** The rows of a declaration over these values, without the window's start and key where they say nothing. */
async function run(values: readonly unknown[], declaration: Record<string, unknown>) {
  const { name, ...from } = await streamOf(values)
  const config = { from, to: { view: name, key: 'room' }, ...declaration } as never
  await using unit = await serve(nats.bus, declaredProcessor, { unit: name, config })
  await until(() => unit.stats!().in === values.length)
  const { rejected: bad } = unit.stats!()
  await unit.drain()
  return { name, rows: await rowsOf(nats.bus, name), bad }
}

const readings = [
  { at: 100, room: 'a', value: 3 },
  { at: 200, room: 'b', value: 10 },
  { at: 300, room: 'a', value: 1 },
  { at: 1_400, room: 'a', value: 8 },
  { at: 2_500, room: 'b', value: 5 },
]

describe('a declared processor', () => {
  it('needs no JSONata for field paths, and the same with it gives the same', async () => {
    const declared = (at: string, room: string, value: string) => ({
      time: at,
      key: room,
      window: { tumbling: '1s' },
      aggregate: { n: { count: true }, total: { sum: value } },
    })
    const plain = await run(readings, declared('at', 'room', 'value'))
    expect(plain.rows).toEqual([
      { room: 'a', start: '1970-01-01T00:00:00Z', n: 2, total: 4 },
      { room: 'b', start: '1970-01-01T00:00:00Z', n: 1, total: 10 },
      { room: 'a', start: '1970-01-01T00:00:01Z', n: 1, total: 8 },
    ])
    const evaluated = await run(readings, declared('at + 0', 'room & ""', 'value * 1'))
    expect(evaluated.rows).toEqual(plain.rows)
  })

  it('offers every aggregate', async () => {
    const { rows } = await run(readings, {
      window: { counted: 2 },
      as: 'from',
      time: 'at',
      aggregate: {
        count: { count: true },
        sum: { sum: 'value' },
        mean: { mean: 'value' },
        min: { min: 'value' },
        max: { max: 'value' },
        share: { share: 'value > 2' },
        first: { first: 'value' },
        last: { last: 'nothing' },
        distinct: { distinct: 'room' },
        distinctExact: { distinctExact: 'value' },
        stddev: { stddev: { of: 'value' } },
        variance: { variance: { kind: 'population', of: 'value' } },
        quantile: { quantile: { q: 0.5, of: 'value' } },
        quantiles: { quantiles: { qs: [0, 1], of: 'value' } },
        quantileSketch: { quantileSketch: { q: 0, of: 'value' } },
        top: { top: { k: 1, of: 'value' } },
        mostFrequent: { mostFrequent: { k: 1, of: 'room' } },
        collect: { collect: { of: 'value' } },
      },
    })
    expect(rows[0]).toMatchObject({
      room: 'a',
      from: '1970-01-01T00:00:00.100Z',
      count: 2,
      sum: 4,
      mean: 2,
      min: 1,
      max: 3,
      share: 0.5,
      first: 3,
      last: null,
      distinct: 1,
      distinctExact: 2,
      variance: 1,
      quantile: 2,
      quantiles: [1, 3],
      top: [3],
      mostFrequent: [{ value: 'a', count: 2, error: 0 }],
      collect: { values: [3, 1], truncated: false },
    })
  })

  it('cuts time in every way', async () => {
    const of = async (window: object, more: object = {}) => {
      const aggregate = { n: { count: true } }
      const { rows } = await run(readings, { time: 'at', window, aggregate, ...more })
      return rows.map(({ room, start, n }) => `${room} ${Date.parse(String(start))} ${n}`)
    }
    expect(await of({ hopping: { size: '2s', every: '1s' } })).toContain('a 0 3')
    expect(await of({ session: 500 })).toEqual(['b 200 1', 'a 100 2', 'a 1400 1'])
    expect(await of({ sliding: '1s' })).toContain('a -700 2')
    expect(await of({ tumbling: '1s' }, { emit: 'update' })).toEqual(expect.arrayContaining(['a 0 1', 'a 0 2']))
    expect(await of({ tumbling: '1s' }, { emit: { early: 100 } })).toContain('a 0 2')
    expect(await of({ counted: 2 }, { time: '$stored' })).toHaveLength(2)
    expect(await of({ calendar: { unit: 'day', timeZone: 'Europe/Berlin' } })).toEqual([])
  })

  it('leaves out, changes and passes on values one by one', async () => {
    const { rows } = await run(readings, {
      where: 'value > 2',
      map: '{ "room": $uppercase(room), "double": value * 2 }',
    })
    expect(rows).toEqual([
      { room: 'A', double: 6 },
      { room: 'B', double: 20 },
      { room: 'A', double: 16 },
      { room: 'B', double: 10 },
    ])
    const growing = await run(readings, { aggregate: { n: { count: true } } })
    expect(growing.rows.at(-1)).toEqual({ room: 'b', n: 2 })
  })

  it('sends what an expression cannot use to the error output, with its name', async () => {
    const values = [{ room: 'a', value: 1 }, { room: 'a', value: 'x' }, { room: 'a', value: { v: 1 } }, { value: 1 }, 7]
    const aggregate = { total: { sum: 'value' }, big: { share: 'value > 0' } }
    const { name, bad } = await run(values, { where: 'room != "z" or true', aggregate })
    expect(bad).toBe(4)
    const reasons: string[] = []
    const reader = await consume(nats.bus, {
      stream: `BAD_${name}`,
      onMessage: (message) => {
        const { code, reason } = readRejection(message)
        reasons.push(`${code} ${reason}`)
        reader.release()
      },
    })
    await until(() => reasons.length === 4)
    await reader.stop()
    expect(reasons[0]).toBe('INVALID_INPUT aggregate.total.sum: expected a finite number, got "x"')
    expect(reasons[1]).toBe('INVALID_INPUT aggregate.total.sum: expected a finite number, got {"v":1}')
    expect(reasons[2]).toBe('INVALID_INPUT key: expected text or a number, got nothing')
    const comparing = await run([{ room: 'a', value: 'x' }], { aggregate: { big: { share: 'value > 0' } } })
    expect(comparing.bad).toBe(1)
    const last = await lastMessage(nats.bus, `BAD_${comparing.name}`, `bad.${comparing.name}`)
    expect(Buffer.from(last!.data).toString()).toBe('{"room":"a","value":"x"}')
    const rows = await run(readings, { map: 'room', key: '$' })
    expect([rows.bad, rows.rows]).toEqual([5, []])
  })

  it('reads events of a contract it does not know, keyed or not, and says when there are none', async () => {
    const payload = z.object({ room: z.string() })
    const bell = contract('bell', {
      version: '1.0.0',
      events: { rang: { payload, key: 'room', durable: true }, broke: { payload, durable: true } },
    })
    for (const event of ['rang', 'broke'] as const) {
      const config = { from: { event: `bell.${event}` }, to: { view: event, key: 'room' } } as never
      const starting = serve(nats.bus, declaredProcessor, { unit: event, config })
      // it waits for what is started beside it
      if (event === 'rang') await ensureContractStreams(nats.bus, bell)
      await using unit = await starting
      await client(nats.bus, bell)[event].publish({ room: 'a' })
      await until(async () => (await rowsOf(nats.bus, event)).length === 1)
      expect(await rowsOf(nats.bus, event)).toEqual([{ room: 'a' }])
      expect(unit.stats!().rejected).toBe(0)
    }
    const from = { view: 'nothing' }
    const config = { from, to: { view: 'x', key: 'room' } } as never
    expect(await codeOf(serve(nats.bus, declaredProcessor, { unit: 'x', config }))).toBe('STREAM_NOT_FOUND')
  })

  it('of another declaration does not go on with the state of the first', async () => {
    const { name, ...from } = await streamOf(readings)
    const declared = (of: string) =>
      ({ from, key: 'room', to: { view: name, key: 'room' }, aggregate: { total: { sum: of } } }) as never
    await using first = await serve(nats.bus, declaredProcessor, { unit: name, config: declared('value') })
    await until(() => first.stats!().in === 5)
    await first.drain()
    expect(await codeOf(serve(nats.bus, declaredProcessor, { unit: name, config: declared('at') }))).toBe(
      'STREAM_MISMATCH',
    )
  })

  it('in partitions is keyed as its input is', async () => {
    names += 1
    const name = `declared${names}`
    await ensureStream(nats.bus, { name, subjects: [`${name}.*`] })
    const config = {
      from: { stream: name, subject: `${name}.*` },
      to: { view: name, key: 'room' },
      aggregate: { n: { count: true } },
      partitions: 3,
    } as never
    await using unit = await serve(nats.bus, declaredProcessor, { unit: name, config })
    for (const { room, ...rest } of readings) {
      const data = Buffer.from(JSON.stringify({ room, ...rest }))
      await persist(nats.bus, `${name}.${room}`, data, { deadline: Date.now() + 5_000 })
    }
    await until(async () => (await rowsOf(nats.bus, name)).length === 5)
    expect(unit.stats!().rejected).toBe(0)
  })

  it('names what is wrong with a declaration by its path', async () => {
    const reported = (declaration: object) =>
      parseConfig(declaredProcessor, { from: { view: 'a' }, to: { view: 'b', key: 'k' }, ...declaration }, 'x').then(
        () => 'fine',
        (error: Error) => error.message,
      )
    expect(await reported({})).toBe('fine')
    expect(await reported({ where: 'a >' })).toMatch(/config\.where: not an expression: .*\(in a >\)/)
    expect(await reported({ map: '$now()' })).toMatch(/config\.map: \$now tells when it is evaluated/)
    expect(await reported({ from: {} })).toContain('config.from: expected { event }, { view }, or { stream, subject }')
    expect(await reported({ from: { event: 'flights' } })).toContain('config.from.event: expected <contract>.<event>')
    expect(await reported({ outOfOrder: 'soon' })).toContain('config.outOfOrder: expected a duration')
    expect(await reported({ aggregate: { n: { cuont: true } } })).toContain('config.aggregate.n: there is no "cuont"')
    expect(await reported({ aggregate: { n: {} } })).toContain(
      'config.aggregate.n: expected exactly one of: count, sum',
    )
    expect(await reported({ aggregate: { n: { quantile: { q: 2, of: 'a' } } } })).toContain(
      'config.aggregate.n.quantile.q: Too big',
    )
    expect(await reported({ time: 'at', window: { tumbling: '1h' } })).toContain('config.aggregate: a window is for')
    const aggregate = { n: { count: true } }
    expect(await reported({ aggregate, window: { tumbling: '1h' } })).toContain('config.time: windows are cut by time')
    expect(await reported({ aggregate, time: 'at', window: { hopping: { size: '1m', every: '1h' } } })).toContain(
      'config.window: hopping: windows of 60000 ms every 3600000 ms leave out events',
    )
    expect(
      await reported({ aggregate, time: 'at', window: { calendar: { unit: 'day', timeZone: 'Mars' } } }),
    ).toContain('config.window: calendar: "Mars" is not a time zone')
    expect(await reported({ windw: {} })).toContain('windw')
  })
})
