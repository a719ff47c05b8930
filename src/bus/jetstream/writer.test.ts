import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../../test/support/nats.ts'
import {
  type Bus,
  connect,
  consume,
  embeddedNats,
  ensureStream,
  type MyelinError,
  removeStream,
  type StreamMessage,
  streamInfo,
  streamWriter,
} from '../internal.ts'

const bytes = (text: string) => Buffer.from(text)

/** Everything a stream holds, in order. */
async function content(bus: Bus, stream: string): Promise<string[]> {
  const last = (await streamInfo(bus, stream))!.state.last_seq
  const all: string[] = []
  const reader = await consume(bus, {
    stream,
    onMessage: (message: StreamMessage) => {
      all.push(Buffer.from(message.data).toString())
      reader?.release()
    },
  })
  await until(() => reader.lastSequence === last || last === 0)
  await reader.stop()
  return all
}

const texts = (count: number, from = 0) => Array.from({ length: count }, (_, i) => String(from + i))

describe('a stream writer', () => {
  const nats = withNats()

  it('stores what was added in order, with the sequences it said, headers included', async () => {
    await ensureStream(nats.bus, { name: 'ORDER', subjects: ['order.>'] })
    const writer = await streamWriter(nats.bus, 'ORDER', { batchSize: 10 })
    const sequences: number[] = []
    for (const text of texts(95)) {
      sequences.push(writer.add(`order.${text}`, bytes(text), `note:${text}\r\n`))
      await writer.ready()
    }
    expect(writer.end).toBe(95)
    await writer.flush()
    expect(writer.acknowledged).toBe(95)
    expect(sequences).toEqual(Array.from({ length: 95 }, (_, i) => i + 1))
    expect(await content(nats.bus, 'ORDER')).toEqual(texts(95))
    await writer.flush() // nothing to do
    writer.add('order.x', bytes('sent'))
    writer.send()
    await until(() => writer.acknowledged === 96)
  })

  it('lets only one of two writers win, and tells the other, from then on', async () => {
    await ensureStream(nats.bus, { name: 'ONE', subjects: ['one'] })
    const first = await streamWriter(nats.bus, 'ONE', { batchSize: 2 })
    const second = await streamWriter(nats.bus, 'ONE', { batchSize: 2 })
    second.add('one', bytes('second'))
    await second.flush()
    first.add('one', bytes('first'))
    expect(await codeOf(first.flush())).toBe('WRONG_SEQUENCE')
    expect(() => first.add('one', bytes('again'))).toThrow(expect.objectContaining({ code: 'WRONG_SEQUENCE' }))
    expect(await codeOf(Promise.resolve(first.ready()))).toBe('WRONG_SEQUENCE')
    expect(await content(nats.bus, 'ONE')).toEqual(['second'])
  })

  it('refuses to begin where the stream does not end', async () => {
    await ensureStream(nats.bus, { name: 'AT', subjects: ['at'] })
    const writer = await streamWriter(nats.bus, 'AT', { lastSequence: 7 })
    writer.add('at', bytes('x'))
    expect(await codeOf(writer.flush())).toBe('WRONG_SEQUENCE')
  })

  it('waits while the stream is full and loses nothing once there is room', async () => {
    const stream = { name: 'FULL', subjects: ['full'], discard: 'new' } as const
    await ensureStream(nats.bus, { ...stream, maxMessages: 25 })
    const reasons: MyelinError[] = []
    const writer = await streamWriter(nats.bus, 'FULL', { batchSize: 10, onWait: (reason) => reasons.push(reason) })
    const all = (async () => {
      for (const text of texts(100)) {
        writer.add('full', bytes(text))
        await writer.ready()
      }
      await writer.flush()
    })()
    await until(() => reasons.length > 1)
    expect(new Set(reasons.map(({ code }) => code))).toEqual(new Set(['STREAM_FULL']))
    expect((await streamInfo(nats.bus, 'FULL'))!.state.messages).toBe(20)
    await ensureStream(nats.bus, { ...stream, maxMessages: 1_000 })
    await all
    expect(await content(nats.bus, 'FULL')).toEqual(texts(100))
  })

  it('refuses a message that is too large, alone, and says that there is no stream, instead of waiting for ever', async () => {
    await ensureStream(nats.bus, { name: 'NOT', subjects: ['not'] })
    const large = await streamWriter(nats.bus, 'NOT')
    large.add('not', bytes('before'))
    expect(() => large.add('not', Buffer.alloc(nats.bus.maxPayloadBytes))).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }),
    )
    // as large as may be, with what a batch adds
    large.add('not', Buffer.alloc(nats.bus.maxPayloadBytes - 256), '')
    expect(large.add('not', bytes('after'))).toBe(3)
    await large.flush()
    expect((await streamInfo(nats.bus, 'NOT'))!.state.messages).toBe(3)
    expect(await codeOf(streamWriter(nats.bus, 'NO_SUCH'))).toBe('STREAM_NOT_FOUND')
    expect(await codeOf(streamWriter(nats.bus, 'NOT', { batchSize: 1_001 }))).toBe('INVALID_OPTION')
  })

  it('says that its stream is gone', async () => {
    await ensureStream(nats.bus, { name: 'GONE', subjects: ['gone'] })
    const writer = await streamWriter(nats.bus, 'GONE')
    await removeStream(nats.bus, 'GONE')
    writer.add('gone', bytes('x'))
    expect(await codeOf(writer.flush())).toBe('STREAM_NOT_FOUND')
  })

  it('says that the connection closed with messages unsent', async () => {
    await ensureStream(nats.bus, { name: 'CUT', subjects: ['cut'] })
    const bus = await nats.connect()
    const writer = await streamWriter(bus, 'CUT')
    await bus.close()
    writer.add('cut', bytes('x'))
    expect(await codeOf(writer.flush())).toBe('CLOSED')
  })
})

describe('a stream writer whose server is killed −9 again and again', () => {
  it('leaves every message exactly once and in order', { timeout: 60_000 }, async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url })
    await ensureStream(bus, { name: 'KILLED', subjects: ['killed'] })
    const writer = await streamWriter(bus, 'KILLED', { batchSize: 50, ackTimeoutMs: 2_000 })
    const count = 20_000
    const killAt = new Set([3_000, 9_000, 15_000])
    for (let i = 0; i < count; i++) {
      writer.add('killed', bytes(String(i)))
      if (killAt.has(i)) {
        const restarts = server.restarts
        process.kill(server.pid, 'SIGKILL')
        // go on while it is down: what does not fit has to wait in ready()
        await writer.ready()
        await until(() => server.restarts > restarts)
      }
      await writer.ready()
    }
    await writer.flush()
    expect(server.restarts).toBe(killAt.size)
    expect(writer.acknowledged).toBe(count)
    expect(await content(bus, 'KILLED')).toEqual(texts(count))
  })
})
