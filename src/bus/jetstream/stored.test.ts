import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf, withNats } from '../../../test/support/nats.ts'
import { deleteMessage, ensureStream, nextMessage, type StoredMessage, sequenceAt, streamWriter } from '../index.ts'

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
