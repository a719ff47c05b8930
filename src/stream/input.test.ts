// The processor's own input: what the server copies into it, and what is cut.
import { jetstreamManager } from '@nats-io/jetstream'
import { expect, it } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { ensureStream, now, persist, readSpan, streamInfo } from '../bus/internal.ts'
import { messages } from './index.ts'
import { inputOf } from './input.ts'

const nats = withNats()

it('is cut without the last message of a source that is quiet: the server goes on behind it, and leaves out nothing', async () => {
  for (const name of ['QUIET', 'BUSY']) {
    await ensureStream(nats.bus, { name, subjects: [`${name.toLowerCase()}.*`] })
  }
  const put = (subject: string, n: number) =>
    persist(nats.bus, `${subject}.k${n}`, Buffer.from(String(n)), { deadline: now() + 5_000 })
  const sources = [messages('QUIET', { subject: 'quiet.*' }), messages('BUSY', { subject: 'busy.*' })]
  const input = inputOf('cut', sources, 1)
  await input.ensure(nats.bus)
  const count = async () => (await streamInfo(nats.bus, input.stream))!.state
  for (let n = 0; n < 5; n++) await put('quiet', n)
  await until(async () => (await count()).last_seq === 5)
  for (let n = 0; n < 50; n++) await put('busy', n)
  await until(async () => (await count()).last_seq === 55)
  await input.trim(nats.bus, 40)
  expect((await count()).messages).toBe(1 + 16)

  // what a new leader of the stream does: it looks in the stream how far it is with the source
  const { streams } = await jetstreamManager(nats.bus.nats)
  const { config } = await streams.info(input.stream)
  await streams.update(input.stream, { ...config, sources: config.sources!.slice(1) })
  for (let n = 5; n < 8; n++) await put('quiet', n)
  await put('busy', 50)
  await until(async () => (await count()).last_seq === 56)
  await streams.update(input.stream, config)
  await until(async () => (await count()).last_seq === 59)
  const quiet: number[] = []
  for await (const { data } of readSpan(nats.bus, input.stream, { subjects: ['in.cut.*.0.>'] }))
    quiet.push(Number(Buffer.from(data)))
  expect(quiet).toEqual([4, 5, 6, 7])

  await input.trim(nats.bus, 59)
  expect((await count()).messages).toBe(2)
  for (let n = 51; n < 60; n++) await put('busy', n)
  await put('quiet', 8)
  await until(async () => (await count()).last_seq === 69)
  await input.trim(nats.bus, 69)
  expect(await count()).toMatchObject({ messages: 2, first_seq: 68 })
})
