// Where a processor goes on: what its streams hold is compared with its checkpoint, and nothing is guessed.
import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { rowsOf } from '../../test/support/rows.ts'
import {
  type Bus,
  connect,
  embeddedNats,
  ensureStream,
  persist,
  readSpan,
  removeStream,
  streamInfo,
} from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import type { Logger, RunningUnit, Unit } from '../unit/internal.ts'
import { Checkpoints } from './checkpoint.ts'
import { Dataflow } from './dataflow.ts'
import {
  checkpointStream,
  collect,
  count,
  errorStream,
  messages,
  processor,
  quantile,
  readRejection,
  type Stream,
  tumbling,
  view,
  viewStream,
} from './index.ts'

const nats = withNats()
let names = 0

// biome-ignore lint/suspicious/noExplicitAny: any program
type Anything = any

function counting(program?: (input: Stream<Anything>) => Anything) {
  names += 1
  const name = `resume${names}`
  const input = `S_${name}`
  const each = (s: Stream<Anything>) => s.keyBy((e) => e.key).aggregate({ n: count() })
  const unit = processor(
    name,
    { from: messages(input, { subject: `s.${name}` }), to: view(name, { key: 'key' }), checkpointMs: 50 },
    (program ?? each) as never,
  ) as Unit<never>
  const begin = (bus: Bus = nats.bus) => ensureStream(bus, { name: input, subjects: [`s.${name}`] })
  const put = async (value: unknown, bus: Bus = nats.bus) => {
    await persist(bus, `s.${name}`, Buffer.from(JSON.stringify(value)), { deadline: Date.now() + 5_000 })
  }
  return { name, input, unit: unit as Unit<unknown>, begin, put, view: viewStream(name) }
}

const positionOf = (unit: RunningUnit) => unit.stats!().position!

async function refusals(name: string) {
  const found: { code: string; stream: string; data: string }[] = []
  for await (const message of readSpan(nats.bus, errorStream(name))) {
    const { code, source, data } = readRejection(message)
    found.push({ code, stream: source.stream, data: Buffer.from(data).toString() })
  }
  return found
}

describe('a message in a view that its processor did not write', () => {
  const forged = Buffer.from('{"key":"a","n":999}')

  it('replaces no row after a crash: it is taken out and goes to the error output', async () => {
    const { name, unit, begin, put, view } = counting()
    await begin()
    const bus = await nats.connect()
    const first = await serve(bus, unit)
    for (let i = 0; i < 10; i++) await put({ key: 'a' })
    await until(async () => (await streamInfo(nats.bus, view))!.state.messages === 10)
    await bus.nats.close() // without a word
    for (let i = 0; i < 3; i++) await persist(nats.bus, `view.${name}.a`, forged, { deadline: Date.now() + 5_000 })
    for (let i = 0; i < 10; i++) await put({ key: 'a' })
    await using second = await serve(nats.bus, unit)
    await until(() => positionOf(second) === 20)
    await until(async () => (await streamInfo(nats.bus, view))!.state.messages === 20)
    expect((await rowsOf(nats.bus, name)).map(({ n }) => n)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    expect(await refusals(name)).toEqual(
      Array.from({ length: 3 }, () => ({ code: 'FOREIGN_MESSAGE', stream: view, data: forged.toString() })),
    )
    expect(second.stats!().out).toBe(20)
    await first.drain()
  })

  it('is noticed while it runs, with its next row', async () => {
    const { name, unit, begin, put, view } = counting()
    await begin()
    await using running = await serve(nats.bus, unit)
    for (let i = 0; i < 5; i++) await put({ key: 'a' })
    await until(async () => (await streamInfo(nats.bus, view))!.state.messages === 5)
    await persist(nats.bus, `view.${name}.a`, forged, { deadline: Date.now() + 5_000 })
    for (let i = 0; i < 5; i++) await put({ key: 'a' })
    await until(() => positionOf(running) === 10)
    await until(async () => (await streamInfo(nats.bus, view))!.state.messages === 10)
    expect((await rowsOf(nats.bus, name)).map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect((await refusals(name)).map(({ code }) => code)).toEqual(['FOREIGN_MESSAGE'])
  })

  it('is no checkpoint in a log of checkpoints either', async () => {
    const { name, unit, begin, put } = counting()
    await begin()
    for (let life = 1; life <= 3; life++) {
      const running = await serve(nats.bus, unit)
      for (let i = 0; i < 5; i++) await put({ key: 'a' })
      await until(() => positionOf(running) === 5 * life)
      await running.drain()
      for (const [token, text] of [
        ['commit', '{}'],
        ['part', '[[0]]'],
        ['other', 'x'],
      ]) {
        await persist(nats.bus, `ckpt.${name}.0.${token}`, Buffer.from(text!), { deadline: Date.now() + 5_000 })
      }
    }
    expect((await rowsOf(nats.bus, name)).map(({ n }) => n)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1))
  })
})

describe('what does not fit the checkpoint is refused with both ends and the way out', () => {
  it('a view with rows and no checkpoint', async () => {
    const { name, unit, begin, put } = counting()
    await begin()
    const running = await serve(nats.bus, unit)
    await put({ key: 'a' })
    await until(() => running.stats!().out === 1)
    await running.drain()
    await removeStream(nats.bus, checkpointStream(name))
    const refused = serve(nats.bus, unit)
    expect(await codeOf(refused)).toBe('STREAM_MISMATCH')
    await expect(refused).rejects.toThrow(`remove the streams ${checkpointStream(name)}, ${viewStream(name)}`)
  })

  it('an input that was made anew', async () => {
    const { input, unit, begin, put } = counting()
    await begin()
    const running = await serve(nats.bus, unit)
    await put({ key: 'a' })
    await until(() => positionOf(running) === 1)
    await running.drain()
    await removeStream(nats.bus, input)
    await begin()
    expect(await codeOf(serve(nats.bus, unit))).toBe('STREAM_MISMATCH')
  })

  it('an input that ends before it, also when it was filled again', async () => {
    const { name, input, unit, begin, put, view } = counting()
    await begin()
    const running = await serve(nats.bus, unit)
    for (let i = 0; i < 5; i++) await put({ key: 'a' })
    await until(() => positionOf(running) === 5)
    await running.drain()
    // a checkpoint that is ahead of its input, as after a power loss
    const commit = await lastCommit(name)
    const ahead = (at: number, atMs: number) =>
      writeCommit(name, { ...commit, positions: { ...commit.positions, input: at, inputMs: atMs } })
    await ahead(9, 1)
    const short = serve(nats.bus, unit)
    expect(await codeOf(short)).toBe('STREAM_TRUNCATED')
    await expect(short).rejects.toThrow(/ends at 5, but it was read up to 9.*remove the streams/)
    for (let i = 0; i < 5; i++) await put({ key: 'a' })
    const filled = serve(nats.bus, unit)
    expect(await codeOf(filled)).toBe('STREAM_TRUNCATED')
    await expect(filled).rejects.toThrow(/holds at 9 another message/)
    expect((await streamInfo(nats.bus, view))!.state.messages).toBe(5)
    expect((await streamInfo(nats.bus, input))!.state.messages).toBe(10)
  })
})

describe('checkpoints', () => {
  it('hold records larger than a message, and come back', async () => {
    await using server = await embeddedNats({ maxPayloadBytes: 64 * 1024 })
    await using bus = await connect({ servers: server.url })
    const { name, unit, begin, put } = counting((s) =>
      s
        .time((e) => e.at)
        .keyBy((e) => e.key)
        .window(tumbling(1_000))
        .aggregate({ n: count(), median: quantile(0.5, (e) => e.v), all: collect((e) => e.text) }),
    )
    await begin(bus)
    const text = 'ä'.repeat(1_000)
    for (let life = 0; life < 3; life++) {
      await using running = await serve(bus, unit)
      await Promise.all(
        Array.from({ length: 50 }, (_, i) => put({ key: `k${i % 2}`, at: 1, v: 50 * life + i, text }, bus)),
      )
      await until(() => positionOf(running) === 50 * (life + 1))
    }
    const last = await serve(bus, unit)
    expect(last.stats!().open).toBe(150)
    await put({ key: 'end', at: 2_000, v: 1, text: '' }, bus)
    await until(() => positionOf(last) === 151)
    await last.drain()
    // the rows do not fit, and that is told; the state did
    expect(await rowsOf(bus, name)).toEqual([])
    expect((await streamInfo(bus, errorStream(name)))!.state.messages).toBe(2)
  })

  it('of a state that does not change are cut as well', async () => {
    const silent = { info: () => undefined, warn: () => undefined } as unknown as Logger
    const dataflow = () => new Dataflow({ startEffect: () => undefined, reject: () => undefined })
    const opened = await Checkpoints.open(nats.bus, { processor: 'still', log: silent, dataflow })
    opened.checkpoints.identity = { shape: '', life: 'x', input: '', outputs: [] }
    for (let input = 0; input < 1_100; input++) {
      const positions = { input, outputs: [], rejected: 0, ended: false }
      await opened.checkpoints.store(opened.checkpoints.take(positions, opened.dataflow))
    }
    expect((await streamInfo(nats.bus, checkpointStream('still')))!.state.messages).toBeLessThan(2_200)
    const again = await Checkpoints.open(nats.bus, { processor: 'still', log: silent, dataflow })
    expect(again.found?.positions.input).toBe(1_099)
  })
})

async function lastCommit(name: string): Promise<Anything> {
  const stream = checkpointStream(name)
  let commit: Anything
  for await (const message of readSpan(nats.bus, stream)) {
    if (message.subject.endsWith('.commit')) commit = JSON.parse(Buffer.from(message.data).toString())
  }
  return commit
}

/** The same entry once more, with other positions. */
async function writeCommit(name: string, commit: Anything): Promise<void> {
  const stream = checkpointStream(name)
  const parts: { data: Buffer; lines: string }[] = []
  for await (const message of readSpan(nats.bus, stream)) {
    const said = message.headers.get('Myelin-Checkpoint')
    if (said?.startsWith(`${commit.id} `))
      parts.push({ data: Buffer.from(message.data), lines: `Myelin-Checkpoint:${said}\r\n` })
  }
  const options = { deadline: Date.now() + 5_000 }
  for (const { data, lines } of parts) {
    await persist(nats.bus, `ckpt.${name}.0.part`, data, { ...options, headerLines: lines })
  }
  await persist(nats.bus, `ckpt.${name}.0.commit`, Buffer.from(JSON.stringify(commit)), options)
}
