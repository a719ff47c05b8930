import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../../test/support/nats.ts'
import {
  type Bus,
  connect,
  consume,
  embeddedNats,
  ensureStream,
  type MyelinError,
  persist,
  type ReaderOptions,
  type StreamMessage,
  type StreamReader,
  streamInfo,
  streamWriter,
} from '../internal.ts'

const bytes = (text: string) => Buffer.from(text)
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i)

async function fill(bus: Bus, stream: string, subject: string, count: number): Promise<void> {
  const writer = await streamWriter(bus, stream)
  for (let i = 0; i < count; i++) writer.add(subject, bytes(String(i)))
  await writer.flush()
}

/** A stream of its own with messages in it. */
async function streamOf(bus: Bus, name: string, count: number): Promise<string> {
  await ensureStream(bus, { name, subjects: [`${name}.>`] })
  if (count > 0) await fill(bus, name, `${name}.a`, count)
  return name
}

/** A reader that notes the sequences it is given; by default it releases each at once. */
async function noting(bus: Bus, options: Omit<ReaderOptions, 'onMessage'>, handle?: (message: StreamMessage) => void) {
  const seen: number[] = []
  const released: { reader?: StreamReader } = {}
  const reader = await consume(bus, {
    ...options,
    onMessage: (message) => {
      seen.push(message.sequence)
      if (handle) handle(message)
      else released.reader?.release()
    },
  })
  released.reader = reader
  return { reader, seen }
}

describe('an ordered reader', () => {
  const nats = withNats()

  it('gets each message once and in order, and what is stored later', async () => {
    const stream = await streamOf(nats.bus, 'ORDERED', 2_500)
    const { reader, seen } = await noting(nats.bus, { stream, maxPending: 100 })
    await until(() => seen.length === 2_500)
    await persist(nats.bus, 'ORDERED.b', bytes('later'), { deadline: Date.now() + 5_000 })
    await until(() => seen.length === 2_501)
    expect(seen).toEqual(numbers(2_501))
    expect(reader.lastSequence).toBe(2_501)
    expect(reader.held).toBe(0)
    await reader.stop()
    expect((await streamInfo(nats.bus, stream))!.state.consumer_count).toBe(0)
  })

  it('never holds more than maxPending messages that were not released', async () => {
    const stream = await streamOf(nats.bus, 'BOUND', 500)
    const held: StreamMessage[] = []
    const { reader, seen } = await noting(nats.bus, { stream, maxPending: 20 }, (message) => held.push(message))
    await until(() => seen.length === 20)
    let most = 20
    while (seen.length < 500) {
      await until(() => held.length > 0)
      await nats.bus.flush() // whatever the server was asked for is here now
      most = Math.max(most, held.length)
      expect(reader.held).toBe(held.length)
      reader.release(held.splice(0, 7).length)
    }
    expect(most).toBe(20)
    expect(seen).toEqual(numbers(500))
    await reader.stop()
  })

  it('asks for nothing while paused, and goes on where it was', async () => {
    const stream = await streamOf(nats.bus, 'PAUSE', 100)
    const { reader, seen } = await noting(nats.bus, { stream, maxPending: 10 }, () => {})
    await until(() => seen.length === 10)
    reader.pause()
    reader.release(10)
    await nats.bus.flush()
    await nats.bus.flush()
    expect(seen.length).toBe(10)
    reader.resume()
    await until(() => seen.length === 20)
    reader.maxPending = 100
    reader.release(10)
    await until(() => seen.length === 100)
    expect(seen).toEqual(numbers(100))
    await reader.stop()
  })

  it('starts at a sequence, at a time, with the last of each subject, or with new messages', async () => {
    const stream = await streamOf(nats.bus, 'START', 5)
    let stamp = 0
    const first = await noting(nats.bus, { stream, from: { sequence: 5 } }, (message) => {
      stamp = message.timestampMs
    })
    await until(() => stamp > 0)
    expect(first.seen).toEqual([5])
    await until(() => Date.now() > stamp + 1)
    const timeMs = Date.now()
    await fill(nats.bus, stream, 'START.b', 3)
    const late = await noting(nats.bus, { stream, from: { timeMs } })
    const fresh = await noting(nats.bus, { stream, from: 'new' })
    const each = await noting(nats.bus, { stream, from: 'last-per-subject' })
    const zero = await noting(nats.bus, { stream, from: { sequence: 0 }, subjects: ['START.b', 'START.c'] })
    await fill(nats.bus, stream, 'START.c', 1)
    const all = [late, fresh, each, zero]
    await until(() => all.every(({ seen }) => seen.at(-1) === 9))
    expect(all.map(({ seen }) => seen)).toEqual([numbers(4, 6), [9], [5, 8, 9], numbers(4, 6)])
    for (const { reader } of [first, ...all]) await reader.stop()
  })

  it('says that the stream does not exist, or that JetStream is off', async () => {
    expect(await codeOf(noting(nats.bus, { stream: 'NONE' }))).toBe('STREAM_NOT_FOUND')
    const durable = { name: 'd', ackWaitMs: 1_000 }
    expect(await codeOf(noting(nats.bus, { stream: 'NONE', durable }))).toBe('STREAM_NOT_FOUND')
    await using server = await embeddedNats({ jetstream: false })
    await using bus = await connect({ servers: server.url })
    expect(await codeOf(noting(bus, { stream: 'NONE' }))).toBe('JETSTREAM_DISABLED')
    expect(await codeOf(ensureStream(bus, { name: 'X', subjects: ['x'] }))).toBe('JETSTREAM_DISABLED')
  })
})

describe('a durable reader', () => {
  const nats = withNats()

  it('gets again what was not acknowledged, and keeps its place for the next reader', async () => {
    const stream = await streamOf(nats.bus, 'DURABLE', 10)
    const durable = { name: 'worker', ackWaitMs: 300 }
    const deliveries = new Map<number, number>()
    const first = await noting(nats.bus, { stream, durable }, (message) => {
      deliveries.set(message.sequence, message.deliveries)
      if (message.sequence === 3 && message.deliveries === 1) return // forgotten
      if (message.sequence === 5 && message.deliveries === 1) message.nak()
      else if (message.sequence === 7) message.term('poison\r\n')
      else message.ack()
      message.ack() // a second word is not sent
    })
    await until(() => deliveries.get(3) === 2 && deliveries.get(5) === 2)
    expect(first.seen.length).toBe(12)
    await first.reader.stop()
    await fill(nats.bus, stream, 'DURABLE.b', 2)
    const second = await noting(nats.bus, { stream, durable, from: 'start' }, (message) => message.ack())
    await until(() => second.seen.length === 2)
    expect(second.seen).toEqual([11, 12])
    await second.reader.stop()
  })

  it('takes new settings for a consumer that exists', async () => {
    const stream = await streamOf(nats.bus, 'TUNED', 30)
    const seen: StreamMessage[] = []
    for (const maxAckPending of [5, 12]) {
      const durable = { name: 'tuned', ackWaitMs: 60_000, maxAckPending }
      const { reader } = await noting(nats.bus, { stream, durable }, (message) => seen.push(message))
      await until(() => seen.length === maxAckPending)
      await reader.stop()
    }
    expect(seen.map(({ sequence }) => sequence)).toEqual(numbers(12))
  })
})

describe('a reader whose server is killed −9', () => {
  it('goes on: ordered each message once, durable at least once', { timeout: 60_000 }, async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url })
    const stream = await streamOf(bus, 'KILLED', 3_000)
    const errors: MyelinError[] = []
    const onError = (error: MyelinError) => errors.push(error)
    const durable = { name: 'd', ackWaitMs: 2_000 }
    const held: { reader?: StreamReader } = {}
    const worker = await noting(bus, { stream, durable, maxPending: 50, onError }, (message) => {
      message.ack()
      held.reader?.release()
    })
    held.reader = worker.reader
    const { reader, seen } = await noting(bus, { stream, maxPending: 50, onError })
    for (const at of [300, 1_500]) {
      await until(() => seen.length >= at)
      const restarts = server.restarts
      process.kill(server.pid, 'SIGKILL')
      await until(() => server.restarts > restarts && bus.connected)
    }
    await fill(bus, stream, 'KILLED.b', 100)
    await until(() => seen.length >= 3_100 && new Set(worker.seen).size === 3_100, 30_000)
    expect(seen).toEqual(numbers(3_100))
    expect(errors).toEqual([])
    await reader.stop()
    await worker.reader.stop()
  })
})

describe('a stream', () => {
  const nats = withNats()

  it('is created once, changed where it can be, and STREAM_MISMATCH names what cannot', async () => {
    const spec = { name: 'SPEC', subjects: ['spec'], metadata: { owner: 'me' }, dedupWindowMs: 1_000 }
    await Promise.all([ensureStream(nats.bus, spec), ensureStream(nats.bus, spec)])
    await ensureStream(nats.bus, { ...spec, maxMessages: 3, subjects: ['spec', 'spec.more'] })
    expect((await streamInfo(nats.bus, 'SPEC'))!.config).toMatchObject({ max_msgs: 3, subjects: ['spec', 'spec.more'] })
    const error = await ensureStream(nats.bus, { ...spec, storage: 'memory' }).catch((e: MyelinError) => e)
    expect(error).toMatchObject({ code: 'STREAM_MISMATCH', message: expect.stringMatching(/SPEC.*storage/) })
  })
})
