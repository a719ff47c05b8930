// A stream that ends before what was read: a backup put back, or messages that never reached the disk.
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, until } from '../../../test/support/nats.ts'
import {
  type Bus,
  compareStream,
  connect,
  consume,
  type EmbeddedNats,
  embeddedNats,
  ensureStream,
  now,
  persist,
  type StreamGap,
  type StreamReader,
  streamIdentity,
} from '../internal.ts'

let folder: string
let server: EmbeddedNats
let bus: Bus
const stream = 'RESTORED'

const start = async (port: number) => {
  server = await embeddedNats({ storeDir: join(folder, 'store'), port })
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'myelin-test-'))
  await start(0)
  bus = await connect({ servers: server.url })
  await ensureStream(bus, { name: stream, subjects: [`${stream}.*`] })
})
afterAll(async () => {
  await bus.close()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Stops the server, does something with its files, and starts it again where it was. */
async function meanwhile(change: (streamFolder: string) => Promise<void>): Promise<void> {
  const port = Number(new URL(server.url).port)
  await server.stop()
  await change(join(folder, 'store', 'jetstream', '$G', 'streams', stream))
  await start(port)
  await until(() => bus.connected)
}
async function put(from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++)
    await persist(bus, `${stream}.a`, Buffer.from(String(n)), { deadline: now() + 10_000 })
}
async function reading(durable?: { name: string; ackWaitMs: number }) {
  const seen: number[] = []
  const gaps: StreamGap[] = []
  const held: { reader?: StreamReader } = {}
  held.reader = await consume(bus, {
    stream,
    ...(durable ? { durable } : {}),
    onMessage: (message) => {
      seen.push(Number(Buffer.from(message.data).toString()))
      message.ack()
      held.reader?.release()
    },
    onGap: (gap) => gaps.push(gap),
  })
  return { reader: held.reader, seen, gaps }
}

it('is told to whoever had read more, ordered or durable, and read on', async () => {
  const group = { name: 'group', ackWaitMs: 60_000 }
  const lost = { name: 'lost', ackWaitMs: 60_000 }
  const ordered = await reading()
  const durable = await reading(group)
  await put(1, 3)
  await until(() => ordered.seen.length === 3 && durable.seen.length === 3)
  await meanwhile((files) => cp(files, join(folder, 'backup'), { recursive: true }))
  const before = await streamIdentity(bus, stream)
  const away = await reading(lost)
  await put(4, 5)
  await until(() => [ordered, durable, away].every(({ seen }) => seen.length === 5))
  await away.reader.stop()
  await bus.flush()
  await meanwhile(async (files) => {
    // the messages of the backup, with what the consumers know of those that were lost
    await rm(join(files, 'msgs'), { recursive: true })
    await cp(join(folder, 'backup', 'msgs'), join(files, 'msgs'), { recursive: true })
  })
  expect((await streamIdentity(bus, stream)).created).toBe(before.created)
  const compared = await compareStream(bus, stream, { created: before.created, sequence: 5 })
  expect(compared.gap).toEqual({ stream, reason: 'shorter', expected: 6, next: 4 })
  expect((await compareStream(bus, stream, { created: before.created, sequence: 3 })).gap).toBeUndefined()
  const changed = await compareStream(bus, stream, { created: before.created, sequence: 3, timestampMs: 1 })
  expect(changed.gap).toMatchObject({ reason: 'recreated', next: 1 })
  expect(await codeOf(compareStream(bus, 'NONE', { sequence: 1 }))).toBe('STREAM_NOT_FOUND')

  await until(() => ordered.gaps.length === 1 && durable.gaps.length === 1)
  const back = await reading(lost) // as another process would find it
  await put(6, 8)
  for (const { seen } of [ordered, durable]) {
    await until(() => seen.includes(8))
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  }
  await until(() => back.seen.includes(8))
  expect(back.seen).toEqual([6, 7, 8])
  for (const { gaps } of [ordered, durable]) expect(gaps).toEqual([{ stream, reason: 'shorter', expected: 6, next: 4 }])
  for (const { reader } of [ordered, durable, back]) await reader.stop()
})
