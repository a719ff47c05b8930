// What a reader does when the stream or the consumer under it is not what it was.
import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../../test/support/nats.ts'
import {
  type BusEvent,
  consume,
  ensureStream,
  persist,
  type ReaderOptions,
  removeStream,
  type StreamGap,
  type StreamMessage,
  type StreamReader,
  streamInfo,
} from '../internal.ts'
import { AckFloor } from './ack-floor.ts'
import { manager } from './api.ts'

const nats = withNats()

const make = (name: string) => ensureStream(nats.bus, { name, subjects: [`${name}.>`] })
async function put(stream: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++) {
    await persist(nats.bus, `${stream}.a`, Buffer.from(String(n)), { deadline: Date.now() + 5_000 })
  }
}
const deleteConsumer = async (stream: string, name: string) => (await manager(nats.bus)).consumers.delete(stream, name)

/** A reader that notes the numbers it is given and the gaps it is told of; by default it acknowledges at once. */
async function noting(
  options: Omit<ReaderOptions, 'onMessage'>,
  handle: (message: StreamMessage) => void = (message) => message.ack(),
) {
  const seen: number[] = []
  const gaps: StreamGap[] = []
  const held: { reader?: StreamReader } = {}
  held.reader = await consume(nats.bus, {
    ...options,
    onMessage: (message) => {
      seen.push(Number(Buffer.from(message.data).toString()))
      handle(message)
      held.reader?.release()
    },
    onGap: (gap) => gaps.push(gap),
  })
  return { reader: held.reader, seen, gaps }
}

describe('a stream that is made anew under a live reader', () => {
  it('is read from its beginning by an ordered reader, which is told', async () => {
    const stream = 'MADE'
    await make(stream)
    const events: BusEvent[] = []
    const stop = nats.bus.on((event) => events.push(event))
    const all = await noting({ stream })
    const news = await noting({ stream, from: 'new' })
    await put(stream, 1, 3)
    await until(() => all.seen.length === 3 && news.seen.length === 3)
    await removeStream(nats.bus, stream)
    await make(stream)
    await put(stream, 4, 5)
    await until(() => all.seen.length === 5 && news.seen.length === 5)
    expect(all.seen).toEqual([1, 2, 3, 4, 5])
    expect(all.gaps).toEqual([{ stream, reason: 'recreated', expected: 4, next: 1 }])
    expect(news.gaps).toEqual(all.gaps)
    expect(events).toContainEqual({ type: 'stream-gap', ...all.gaps[0]! })
    stop()
    for (const { reader } of [all, news]) await reader.stop()
  })

  it('is read on by a durable reader, though its consumer began with what was new', async () => {
    const stream = 'MADEDURABLE'
    await make(stream)
    await put(stream, 1, 2)
    const durable = { name: 'group', ackWaitMs: 5_000 }
    const { reader, seen, gaps } = await noting({ stream, durable, from: 'new' })
    await put(stream, 3, 4)
    await until(() => seen.length === 2)
    await removeStream(nats.bus, stream)
    await make(stream)
    await put(stream, 5, 7)
    await until(() => seen.length === 5)
    expect(seen).toEqual([3, 4, 5, 6, 7])
    expect(gaps).toMatchObject([{ reason: 'recreated', next: 1 }])
    await reader.stop()
  })

  it('is not read on by a reader that was stopped over it', async () => {
    const stream = 'STOPPED'
    await make(stream)
    const held: { reader?: StreamReader } = {}
    const seen: number[] = []
    held.reader = await consume(nats.bus, {
      stream,
      onMessage: ({ sequence }) => void seen.push(sequence),
      onGap: () => void held.reader?.stop(),
    })
    await put(stream, 1, 1)
    await until(() => seen.length === 1)
    await removeStream(nats.bus, stream)
    await make(stream)
    await put(stream, 2, 3)
    await until(async () => (await streamInfo(nats.bus, stream))!.state.consumer_count === 0)
    expect(seen).toEqual([1])
  })
})

describe('a durable consumer that vanishes', () => {
  it('is made again where its messages were acknowledged, whether it began at the start or with what was new', async () => {
    for (const from of ['start', 'new'] as const) {
      const stream = `VANISH_${from}`
      await make(stream)
      if (from === 'start') await put(stream, 1, 5)
      let hold = false
      const durable = { name: 'group', ackWaitMs: 60_000 }
      const { reader, seen, gaps } = await noting({ stream, durable, from, maxPending: 4 }, (message) => {
        if (!hold) message.ack()
      })
      if (from === 'new') await put(stream, 1, 5)
      await until(() => seen.length === 5)
      hold = true // these two are in hand when the consumer goes
      await put(stream, 6, 7)
      await until(() => seen.length === 7)
      hold = false
      await deleteConsumer(stream, 'group')
      await put(stream, 8, 12)
      await until(() => seen.includes(12))
      expect(seen.slice(7)).toEqual([6, 7, 8, 9, 10, 11, 12])
      expect(gaps).toEqual([])
      await reader.stop()
    }
  })

  it('loses nothing of what was stored before anything was handled', async () => {
    const stream = 'EARLY'
    await make(stream)
    await put(stream, 1, 3)
    const durable = { name: 'group', ackWaitMs: 60_000 }
    const { reader, seen } = await noting({ stream, durable, from: 'new' })
    reader.pause()
    await deleteConsumer(stream, 'group')
    await put(stream, 4, 6)
    reader.resume()
    await until(() => seen.length === 3)
    expect(seen).toEqual([4, 5, 6])
    await reader.stop()
  })

  it('knows its place by runs of deliveries, and past others by what the server says', () => {
    const floor = new AckFloor()
    floor.learn(0, 100)
    floor.acked(1, 101)
    floor.acked(2, 105)
    expect([floor.sequence, floor.uncertain]).toEqual([105, false])
    floor.acked(4, 110) // 3 is another reader's
    floor.acked(5, 111)
    expect([floor.sequence, floor.uncertain]).toEqual([105, true])
    floor.acked(3, 106)
    expect([floor.sequence, floor.uncertain]).toEqual([111, false])
    floor.acked(8, 120)
    floor.learn(7, 119)
    expect([floor.sequence, floor.uncertain]).toEqual([120, false])
    floor.learn(2, 90) // late
    expect(floor.sequence).toBe(120)
  })
})

describe('readers of one durable', () => {
  it('pick the same messages, or the second is refused with a sentence', async () => {
    const stream = 'PICK'
    await make(stream)
    const durable = { name: 'crew', ackWaitMs: 5_000 }
    const { reader } = await noting({ stream, durable, subjects: ['PICK.*'] })
    for (const subjects of [['PICK.atl'], ['PICK.*', 'PICK.a.b'], undefined]) {
      const options = { stream, durable, ...(subjects ? { subjects } : {}) }
      expect(await codeOf(noting(options))).toBe('INVALID_OPTION')
      await expect(noting(options)).rejects.toThrow('the group "crew" reads PICK.*')
    }
    const same = await noting({ stream, durable: { ...durable, ackWaitMs: 6_000 }, subjects: ['PICK.*'] })
    await same.reader.stop()
    await reader.stop()
  })

  it('are given the new subjects of a stream whose contract has changed', async () => {
    const spec = { name: 'CHANGED', owner: 'me', subjects: ['CHANGED'] }
    await ensureStream(nats.bus, spec)
    const durable = { name: 'crew', ackWaitMs: 5_000 }
    const before = await noting({ stream: spec.name, durable, subjects: ['CHANGED'] })
    await before.reader.stop()
    await ensureStream(nats.bus, { ...spec, subjects: ['CHANGED.*'] })
    const after = await noting({ stream: spec.name, durable, subjects: ['CHANGED.*'] })
    await put('CHANGED', 1, 1)
    await until(() => after.seen.length === 1)
    await after.reader.stop()
  })
})

describe('a handler of messages that fails', () => {
  it('ends neither its reader nor another, and takes no place in the window', async () => {
    const stream = 'FAILS'
    await make(stream)
    const before = nats.bus.failures
    const seen: number[] = []
    const fail = (message: StreamMessage) => {
      seen.push(message.sequence)
      if (message.sequence % 2 === 0) throw new Error('thrown')
      return Promise.reject(new Error('rejected'))
    }
    const reader = await consume(nats.bus, { stream, maxPending: 4, onMessage: fail })
    const other = await noting({ stream, maxPending: 4 })
    await put(stream, 1, 30)
    await until(() => seen.length === 30 && other.seen.length === 30)
    await until(() => reader.held === 0)
    expect(nats.bus.failures - before).toBe(30)
    for (const one of [reader, other.reader]) await one.stop()
  })

  it('gets a message of a durable again', async () => {
    const stream = 'FAILSAGAIN'
    await make(stream)
    const seen: number[] = []
    const reader = await consume(nats.bus, {
      stream,
      durable: { name: 'group', ackWaitMs: 60_000 },
      maxPending: 2,
      onMessage: (message) => {
        seen.push(message.deliveries)
        if (message.deliveries === 1) throw new Error('not yet')
        message.ack()
        reader.release()
      },
    })
    await put(stream, 1, 3)
    await until(() => seen.length === 6)
    expect(seen.sort()).toEqual([1, 1, 1, 2, 2, 2])
    await reader.stop()
  })
})

it('takes no notice of what others write into the inbox of a reader', async () => {
  const stream = 'FOREIGN'
  await make(stream)
  const inboxes: string[] = []
  const spy = await nats.connect()
  const watching = spy.subscribe('$JS.API.CONSUMER.MSG.NEXT.FOREIGN.>', ({ reply }) => {
    if (reply) inboxes.push(reply)
  })
  await spy.flush()
  const { reader, seen } = await noting({ stream, maxPending: 10 })
  await until(() => inboxes.length > 0)
  const [inbox] = inboxes
  const odd: [reply: string, headers: string][] = [
    ['', ''],
    ['_INBOX.somebody', ''],
    ['$JS.ACK.FOREIGN.x.1.NaN.1.2.3', ''],
    ['$JS.ACK.nonsense', ''],
    ['', 'Nats-Pending-Messages:many\r\n'],
  ]
  for (const [reply, lines] of odd) spy.publish(inbox!, Buffer.from('99'), lines, reply || undefined)
  await spy.flush()
  await put(stream, 1, 12)
  await until(() => seen.length === 12)
  expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  expect(reader.held).toBe(0)
  watching.unsubscribe()
  await reader.stop()
})
