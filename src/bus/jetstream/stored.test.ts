import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf, withNats } from '../../../test/support/nats.ts'
import {
  deleteMessage,
  ensureStream,
  nextMessage,
  persist,
  readSpan,
  type SpanOptions,
  type StoredMessage,
  sequenceAt,
  streamInfo,
  streamWriter,
} from '../internal.ts'

const nats = withNats()
const timeOf = ({ data }: StoredMessage) => (data.length === 0 ? undefined : Number(Buffer.from(data).toString()))

describe('a position by time', () => {
  it('is the first message that is not older, whatever was deleted, by subject too', async () => {
    let made = 0
    await fc.assert(
      fc.asyncProperty(
        // steps of time, some messages without a time, some deleted
        fc.array(fc.record({ step: fc.nat(3), kind: fc.constantFrom('a', 'b', 'none', 'gone') }), { maxLength: 40 }),
        fc.nat(130),
        async (steps, wanted) => {
          const stream = `TIMES${made++}`
          await ensureStream(nats.bus, { name: stream, subjects: [`${stream}.*`] })
          const writer = await streamWriter(nats.bus, stream)
          let now = 0
          const all = steps.map(({ step, kind }, i) => {
            now += step
            return { sequence: i + 1, time: kind === 'none' ? undefined : now, kind }
          })
          for (const { time, kind } of all) writer.add(`${stream}.${kind}`, Buffer.from(String(time ?? '')))
          await writer.flush()
          for (const { sequence, kind } of all) if (kind === 'gone') await deleteMessage(nats.bus, stream, sequence)
          for (const subject of [undefined, `${stream}.a`]) {
            const kept = all.filter(({ kind }) => (subject ? kind === 'a' : kind !== 'gone'))
            const found = await sequenceAt(nats.bus, stream, wanted, { subject, timeOf })
            // what a reader that starts there sees first
            const first = kept.find(({ sequence, time }) => sequence >= found && time !== undefined)
            expect(first).toEqual(kept.find(({ time }) => time !== undefined && time >= wanted))
          }
        },
      ),
      { numRuns: 25 },
    )
  })

  it('goes by the time of storage where nothing else is said, also on streams without direct gets', async () => {
    await ensureStream(nats.bus, { name: 'STORED', subjects: ['stored'] })
    const writer = await streamWriter(nats.bus, 'STORED')
    writer.add('stored', Buffer.from('1'))
    await writer.flush()
    const { timestampMs } = (await nextMessage(nats.bus, 'STORED', 0))!
    while (Date.now() <= timestampMs + 1) await nats.bus.flush()
    const between = Date.now()
    writer.add('stored', Buffer.from('2'))
    await writer.flush()
    expect(await sequenceAt(nats.bus, 'STORED', 0)).toBe(1)
    expect(await sequenceAt(nats.bus, 'STORED', between)).toBe(2)
    expect(await sequenceAt(nats.bus, 'STORED', Date.now() + 60_000)).toBe(3)
    expect(await nextMessage(nats.bus, 'STORED', 2, { direct: false })).toMatchObject({
      sequence: 2,
      subject: 'stored',
    })
    expect(await nextMessage(nats.bus, 'STORED', 3)).toBeUndefined()
    expect(await codeOf(sequenceAt(nats.bus, 'NONE', 0))).toBe('STREAM_NOT_FOUND')
  })
})

describe('a span of a stream', () => {
  const nats = withNats()
  const put = async (stream: string, subjects: readonly string[]) => {
    if (!(await streamInfo(nats.bus, stream))) await ensureStream(nats.bus, { name: stream, subjects: [`${stream}.*`] })
    for (const subject of subjects) {
      await persist(nats.bus, `${stream}.${subject}`, Buffer.from('x'), { deadline: Date.now() + 5_000 })
    }
  }
  const read = async (stream: string, options?: SpanOptions) => {
    const sequences: number[] = []
    for await (const { sequence } of readSpan(nats.bus, stream, options)) sequences.push(sequence)
    return sequences
  }

  it('ends, also where the newest messages are gone, nothing fits, or nothing is left at all', async () => {
    await put('ENDS', ['a', 'b', 'a', 'b', 'a', 'b'])
    expect(await read('ENDS')).toEqual([1, 2, 3, 4, 5, 6])
    expect(await read('ENDS', { from: 2, until: 4 })).toEqual([2, 3, 4])
    expect(await read('ENDS', { from: 7 })).toEqual([])
    expect(await read('ENDS', { subjects: ['ENDS.a', 'ENDS.c'], maxPending: 2 })).toEqual([1, 3, 5])
    expect(await read('ENDS', { subjects: ['ENDS.c'] })).toEqual([])
    for (const sequence of [6, 5]) await deleteMessage(nats.bus, 'ENDS', sequence)
    expect(await read('ENDS')).toEqual([1, 2, 3, 4])
    expect(await read('ENDS', { from: 5 })).toEqual([])
    for (const sequence of [1, 2, 3, 4]) await deleteMessage(nats.bus, 'ENDS', sequence)
    expect(await read('ENDS')).toEqual([])
    expect(await codeOf(read('MISSING'))).toBe('STREAM_NOT_FOUND')
  })

  it('has the latest of each subject, also of those that are replaced while it is read', async () => {
    await ensureStream(nats.bus, { name: 'LATEST', subjects: ['LATEST.*'], maxMessagesPerSubject: 1, discard: 'old' })
    for await (const { sequence } of readSpan(nats.bus, 'LATEST', { latest: true })) expect(sequence).toBe(0) // and ends
    await put('LATEST', ['a', 'b', 'c'])
    const found = new Map<string, number>()
    for await (const { subject, sequence } of readSpan(nats.bus, 'LATEST', { latest: true, maxPending: 1 })) {
      found.set(subject, sequence)
      if (subject === 'LATEST.a' && sequence === 1) await put('LATEST', ['c', 'c', 'a'])
    }
    expect(found.get('LATEST.b')).toBe(2)
    expect(found.get('LATEST.c')).toBeGreaterThan(2)
  })

  it('ends where its last messages are deleted while it is read, and leaves no consumer behind', async () => {
    await put('WHILE', ['a', 'a', 'a', 'a'])
    const sequences: number[] = []
    for await (const { sequence } of readSpan(nats.bus, 'WHILE', { maxPending: 2 })) {
      sequences.push(sequence)
      if (sequence === 1) for (const last of [3, 4]) await deleteMessage(nats.bus, 'WHILE', last)
    }
    expect(sequences).toEqual([1, 2])
    for await (const { sequence } of readSpan(nats.bus, 'WHILE')) if (sequence === 1) break
    expect((await streamInfo(nats.bus, 'WHILE'))!.state.consumer_count).toBe(0)
  })
})
