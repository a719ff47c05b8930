// Input that cannot be used goes to the error output alone, whatever it is; the partition and its connection go on.
import { Kvm } from '@nats-io/kv'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { rowsOf } from '../../test/support/rows.ts'
import { type Bus, ensureStream, now, persist, readSpan, streamInfo } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { serve } from '../service/index.ts'
import {
  bucket,
  collect,
  count,
  errorStream,
  job,
  last,
  messages,
  objects,
  processor,
  publish,
  type Rows,
  readRejection,
  reduce,
  type Sink,
  type Stream,
  table,
  tumbling,
  view,
  viewStream,
} from './index.ts'

const nats = withNats()
let names = 0

// biome-ignore lint/suspicious/noExplicitAny: hostile input has no type
type Anything = any

interface Outcome {
  rows: Record<string, unknown>[]
  refused: { code: string; reason: string; data: string; sequence: number }[]
  stats: Record<string, number>
}

/** Runs a program over messages until it has read all of them and told what it refused. */
async function run(
  input: readonly (object | string)[],
  program: (input: Stream<Anything>) => Rows<Anything> | Sink,
  options: { bus?: Bus; expected?: number; effects?: number } = {},
): Promise<Outcome> {
  names += 1
  const name = `hostile${names}`
  const stream = `S_${name}`
  const bus = options.bus ?? (await nats.connect())
  await ensureStream(bus, { name: stream, subjects: [`s.${name}`] })
  const made = processor(
    name,
    { from: messages(stream, { subject: `s.${name}` }), to: view(name, { key: 'key' }), checkpointMs: 50 },
    program as never,
  )
  await using unit = await serve(bus, made)
  let failed: unknown
  unit.done?.catch((error) => {
    failed = error
  })
  for (const one of input) {
    const data = Buffer.from(typeof one === 'string' ? one : JSON.stringify(one))
    await persist(bus, `s.${name}`, data, { deadline: Date.now() + 5_000 })
  }
  await until(() => failed !== undefined || unit.stats!().position === input.length)
  if (failed) throw failed
  await until(async () => {
    const messages = (await streamInfo(bus, errorStream(name)))?.state.messages ?? 0
    return messages >= (options.expected ?? 1)
  })
  await until(() => unit.stats!().effects! >= (options.effects ?? 0))
  const stats = unit.stats!()
  await unit.drain() // its last checkpoint is stored
  if (failed) throw failed
  expect(bus.connected).toBe(true)
  const rows = (await streamInfo(bus, viewStream(name))) ? await rowsOf(bus, name) : []
  return { rows, refused: await refusals(bus, name), stats }
}

async function refusals(bus: Bus, name: string): Promise<Outcome['refused']> {
  const found: Outcome['refused'] = []
  if (!(await streamInfo(bus, errorStream(name)))) return found
  for await (const message of readSpan(bus, errorStream(name))) {
    const { code, reason, data, source } = readRejection(message)
    found.push({ code, reason, data: Buffer.from(data).toString(), sequence: source.sequence })
  }
  return found.sort((a, b) => a.sequence - b.sequence)
}

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
const cyclic = () => {
  const value: { self?: unknown } = {}
  value.self = value
  return value
}
const deep = () => JSON.parse(nested(20_000))
const tick = (key: string, at: number, more: object = {}) => ({ key, at, ...more })
const good = [tick('a', 1), tick('b', 2), tick('a', 3)]

describe('rows that cannot be written', () => {
  it.each([
    ['a BigInt', () => 1n],
    ['a cycle', cyclic],
    ['20,000 levels', deep],
    ['a toJSON that throws', () => ({ toJSON: () => 'x'.repeat(-1) })],
  ] as [string, () => unknown][])('%s: its message goes to the error output alone', async (_what, value) => {
    const { rows, refused } = await run([tick('a', 1), tick('a', 2, { bad: true }), tick('b', 3)], (s) =>
      s.keyBy((e) => e.key).rows((e) => ({ at: e.at, value: e.bad ? value() : null })),
    )
    expect(rows).toEqual([
      { key: 'a', at: 1, value: null },
      { key: 'b', at: 3, value: null },
    ])
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 2, data: '{"key":"a","at":2,"bad":true}' }])
  })

  it('larger than a message: the others of the same moment go out', async () => {
    const text = 'x'.repeat(600_000)
    const { rows, refused } = await run(
      [tick('a', 1, { text }), tick('a', 2, { text }), tick('b', 3, { text: 'small' }), tick('b', 2_000, { text: '' })],
      (s) =>
        s
          .time((e) => e.at)
          .keyBy((e) => e.key)
          .window(tumbling(1_000))
          .aggregate({ all: collect((e) => e.text), n: count() }),
    )
    expect(rows.map(({ key, n }) => [key, n])).toEqual([['b', 1]])
    expect(refused).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE', sequence: 4 }])
    expect(refused[0]!.reason).toContain('row "a"')
  })

  it('that name another key than their own', async () => {
    const { rows, refused } = await run([tick('a', 1), tick('b', 2)], (s) =>
      s.keyBy((e) => e.key).rows((e) => ({ key: e.key === 'b' ? 'c' : e.key, at: e.at })),
    )
    expect(rows).toEqual([{ key: 'a', at: 1 }])
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 2 }])
  })

  it('because an aggregate makes nothing of its window', async () => {
    const { rows, refused } = await run([tick('a', 1), tick('b', 2), tick('a', 2_000)], (s) =>
      s
        .time((e) => e.at)
        .keyBy((e) => e.key)
        .window(tumbling(1_000))
        .aggregate({
          n: {
            init: () => 0,
            add: (n: number, e: Anything) => n + (e.key === 'a' ? 1 : 2),
            result: (n: number) => {
              if (n === 1) throw new Error('no result')
              return n
            },
          },
        }),
    )
    expect(rows.map(({ key, n }) => [key, n])).toEqual([['b', 2]])
    expect(refused).toMatchObject([{ code: 'INTERNAL', reason: 'no result', sequence: 3 }])
  })
})

describe('values that cannot be kept', () => {
  const hostile = [
    ['a BigInt', () => 1n, 'JSON has'],
    ['a function', () => () => 1, 'JSON has'],
    ['a cycle', cyclic, '1000 deep'],
    ['20,000 levels', deep, '1000 deep'],
    ['a Map', () => new Map([[1, 2]]), 'Map'],
  ] as [string, () => unknown, string][]

  it.each(hostile)('%s in last and collect', async (_what, value, reason) => {
    const { rows, refused } = await run([...good, tick('a', 4, { bad: true }), tick('a', 2_000)], (s) =>
      s
        .time((e) => e.at)
        .keyBy((e) => e.key)
        .window(tumbling(1_000))
        .aggregate({
          n: count(),
          latest: last((e) => (e.bad ? (value() as object) : e.at)),
          all: collect((e) => (e.bad ? (value() as object) : e.at)),
        }),
    )
    expect(rows).toMatchObject([
      { key: 'a', n: 2, latest: 3, all: { values: [1, 3] } },
      { key: 'b', n: 1, latest: 2 },
    ])
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 4 }])
    expect(refused[0]!.reason).toContain(reason)
  })

  it.each(hostile)('%s in a table', async (_what, value) => {
    const { rows, refused } = await run([...good, tick('a', 4, { bad: true })], (s) =>
      s
        .map((e) => (e.bad ? { ...e, value: value() } : e))
        .keyBy((e) => e.key)
        .table()
        .rows((e) => ({ at: e.at })),
    )
    expect(rows.map(({ at }) => at)).toEqual([1, 2, 3])
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 4 }])
  })

  it('a Date in a join, which would come back as a text', async () => {
    const { refused } = await run([tick('a', 1)], (s) => {
      const timed = s.map((e) => ({ ...e, at: new Date(e.at) })).time((e) => e.at)
      return timed
        .keyBy((e) => e.key)
        .join(
          timed.keyBy((e) => e.key),
          { within: 10 },
          (a) => a,
        )
        .keyBy((e) => e.key)
        .rows(() => ({}))
    })
    expect(refused[0]).toMatchObject({ code: 'INVALID_INPUT', reason: expect.stringContaining('Date') })
  })

  it('a state of reduce that JSON has no word for', async () => {
    const { rows, refused } = await run([...good, tick('a', 4, { bad: true }), tick('b', 5), tick('a', 6)], (s) =>
      s
        .keyBy((e) => e.key)
        .aggregate({
          n: count(),
          sum: reduce(
            (): number | bigint => 0,
            (sum, e) => (e.bad ? 5n : Number(sum) + e.at),
          ),
        }),
    )
    expect(rows.map(({ key, sum }) => [key, sum])).toEqual([
      ['a', 1],
      ['b', 2],
      ['a', 4],
      ['b', 7],
      ['a', 10],
    ])
    expect(rows.map(({ n }) => n)).toEqual([1, 1, 2, 2, 3])
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 4 }])
  })
})

describe('messages that are odd', () => {
  it('nested 8,000 and 100,000 deep', async () => {
    const { rows, refused } = await run(
      [
        tick('a', 1),
        `{"key":"a","at":2,"v":${nested(8_000)}}`,
        `{"key":"a","at":3,"v":${nested(100_000)}}`,
        tick('a', 4),
      ],
      (s) => s.keyBy((e) => e.key).rows((e) => ({ at: e.at, v: e.v })),
      { expected: 2 },
    )
    expect(rows.map(({ at }) => at)).toEqual([1, 4])
    expect(refused.map(({ code, sequence }) => [code, sequence])).toEqual([
      ['INVALID_INPUT', 2],
      ['INVALID_INPUT', 3],
    ])
  })

  it('with keys that no subject can hold', async () => {
    const odd = [
      '',
      ' ',
      'a b',
      'a.b',
      '*',
      '>',
      'x\r\nPUB evil 0',
      '\u0000',
      '\ud800',
      'k'.repeat(5_000),
      null,
      {},
      [],
    ]
    const { rows, refused } = await run(
      [tick('a', 1), ...odd.map((key) => ({ key, at: 2 })), tick('b', 3)],
      (s) => s.keyBy((e) => e.key).rows((e) => ({ at: e.at })),
      { expected: odd.length - 2 },
    )
    // null and {} as text are keys like others
    expect(rows.filter(({ at }) => at !== 2).map(({ key }) => key)).toEqual(['a', 'b'])
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['INVALID_INPUT']))
    expect(refused.some(({ sequence }) => sequence === 1 || sequence === odd.length + 2)).toBe(false)
  })

  it('as large as messages may be: what does not fit beside the reason is cut, and that is said', async () => {
    const bus = await nats.connect()
    const size = bus.maxPayloadBytes
    const { refused } = await run([`"${'x'.repeat(size - 2)}"`], (s) => s.keyBy((e) => e.key.none).rows(() => ({})), {
      bus,
    })
    expect(refused).toMatchObject([{ code: 'INTERNAL', sequence: 1 }])
    expect(refused[0]!.data.length).toBeGreaterThan(size - 2_000)
    for await (const message of readSpan(bus, errorStream(`hostile${names}`))) {
      expect(readRejection(message).bytes).toBe(size)
    }
  })
})

it('a value of a table that expired is gone: what the server leaves in its place is no value', async () => {
  await new Kvm(nats.bus.nats).create('EXPIRING', { markerTTL: 60_000 })
  const put = (key: string, headerLines: string) =>
    persist(nats.bus, `$KV.EXPIRING.${key}`, Buffer.from('{"city":"Atlanta"}'), {
      deadline: now() + 5_000,
      headerLines,
    })
  await put('ATL', 'Nats-TTL:1s\r\n')
  const City = z.object({ city: z.string() })
  const unit = processor(
    'expiring',
    { from: table('EXPIRING', { schema: City }), to: view('expiring', { key: 'iata' }) },
    (cities) => cities.rows(({ city }) => ({ city })),
  )
  await using running = await serve(nats.bus, unit)
  await until(() => running.stats!().keys === 1)
  await until(() => running.stats!().keys === 0)
  await put('SFO', '')
  await until(() => running.stats!().out === 2)
  expect(running.stats!().rejected).toBe(0)
})

describe('effects that refuse a value', () => {
  const strict = contract('strict', {
    version: '1.0.0',
    events: { announced: { payload: z.object({ n: z.number() }), durable: true } },
    jobs: { once: { payload: z.looseObject({ key: z.string() }), unique: 'key' } },
  })

  it('send its message to the error output', async () => {
    const { refused, stats } = await run([{ n: 1 }, { n: 'two' }], (s) => s.to(publish(strict, 'announced')))
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 2, data: '{"n":"two"}' }])
    expect(stats.rejected).toBe(1)
  })

  it.each(['2001\r\nNats-Expected-Last-Sequence: 999999', 'gate 12'])('for its time %j', async (at) => {
    const { refused } = await run([{ n: 1, at }], (s) =>
      s.to(publish(strict, 'announced', { time: (e: Anything) => e.at })),
    )
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 1 }])
  })

  it('because a function of the program fails', async () => {
    const { refused } = await run([{ key: 'f' }, { key: null }], (s) =>
      s.to(job(strict, 'once', { id: (e: Anything) => e.key.toUpperCase() })),
    )
    expect(refused).toMatchObject([{ code: 'INVALID_INPUT', sequence: 2 }])
  })

  it('a unique job that is queued already is done, however many want it', async () => {
    const many = Array.from({ length: 300 }, () => ({ key: 'same' }))
    const { stats } = await run([...many, { key: 'other' }], (s) => s.to(job(strict, 'once')), {
      expected: 0,
      effects: 301,
    })
    expect(stats).toMatchObject({ in: 301, rejected: 0, effects: 301, effectDuplicates: 299 })
  })

  it('keys that no bucket and no object store can hold', async () => {
    const keyed = (s: Stream<Anything>) => s.keyBy((e) => e.key).rows((e) => ({ v: e.big ? 1n : e.at }))
    const input = [tick('a', 1), tick('b\r\nPUB evil 0', 2), tick('k'.repeat(5_000), 3), tick('c', 4, { big: true })]
    const into = await run(input, (s) => keyed(s).to(bucket('HOSTILE')), { expected: 3 })
    expect(into.refused.map(({ sequence }) => sequence)).toEqual([2, 3, 4])
    expect(Buffer.from((await (await new Kvm(nats.bus.nats).open('HOSTILE')).get('a'))!.value).toString()).toBe(
      '{"v":1}',
    )
    const objected = await run(input, (s) => keyed(s).to(objects('HOSTILE')), { expected: 2 })
    expect(objected.refused.map(({ sequence }) => sequence)).toEqual([3, 4])
  })
})
