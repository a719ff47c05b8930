import { describe, expect, it } from 'vitest'
import { codeOf, withNats } from '../../../test/support/nats.ts'
import {
  bucket,
  connect,
  ensureStream,
  persist,
  persistIn,
  removeStream,
  type StreamSpec,
  streamInfo,
} from '../internal.ts'

const nats = withNats({ extraConfig: 'jetstream { max_file_store: 10GB }' })
const spec = (more: Partial<StreamSpec> = {}): StreamSpec => {
  const name = `S${crypto.randomUUID().slice(0, 8)}`
  return { name, subjects: [`s.${name}`], ...more }
}
const config = async (name: string) => (await streamInfo(nats.bus, name))!.config
const operate = async (name: string, change: object) => {
  const { error } = (
    await nats.bus.request(
      `$JS.API.STREAM.UPDATE.${name}`,
      Buffer.from(JSON.stringify({ ...(await config(name)), ...change })),
    )
  ).json<{ error?: object }>()
  expect(error).toBeUndefined()
}

describe('replicas', () => {
  it('are one on a server of its own, and more are refused in a clear sentence', async () => {
    const own = spec()
    await ensureStream(nats.bus, own)
    await ensureStream(nats.bus, { ...own, maxMessages: 9 })
    expect((await config(own.name)).num_replicas).toBe(1)
    await expect(ensureStream(nats.bus, spec({ replicas: 3 }))).rejects.toMatchObject({
      code: 'REPLICAS_UNAVAILABLE',
      message: expect.stringContaining('this server is alone'),
      retriable: false,
    })
    expect(await codeOf(ensureStream(nats.bus, { ...own, replicas: 3 }))).toBe('REPLICAS_UNAVAILABLE')
  })

  it('asked for by the connection hold for streams and buckets, unless one says otherwise', async () => {
    await using bus = await connect({ servers: nats.server.url, replicas: 3 })
    expect(await codeOf(ensureStream(bus, spec()))).toBe('REPLICAS_UNAVAILABLE')
    expect(await codeOf(bucket(bus, 'B1'))).toBe('REPLICAS_UNAVAILABLE')
    await ensureStream(bus, spec({ replicas: 1 }))
    await bucket(bus, 'B2', { replicas: 1 })
    expect(await codeOf(connect({ servers: nats.server.url, replicas: 1.5 }))).toBe('INVALID_OPTION')
  })
})

describe('what an operator set', () => {
  it('stays where the spec says nothing of it, and a limit that a spec drops is lifted', async () => {
    const own = spec({ maxAgeMs: 3_600_000 })
    await ensureStream(nats.bus, own)
    await operate(own.name, { max_msgs: 1_000, max_msg_size: 500, compression: 's2', description: 'mine' })
    const { maxAgeMs: _, ...less } = own
    await ensureStream(nats.bus, { ...less, subjects: [...own.subjects, `${own.subjects[0]}.more`] })
    expect(await config(own.name)).toMatchObject({
      subjects: [own.subjects[0], `${own.subjects[0]}.more`],
      max_age: 0,
      max_msgs: 1_000,
      max_msg_size: 500,
      compression: 's2',
      description: 'mine',
    })
    await ensureStream(nats.bus, { ...own, maxMessages: 5 })
    expect(await config(own.name)).toMatchObject({ max_msgs: 5, max_age: 3_600_000 * 1e6 })
  })
})

describe('a byte limit', () => {
  it('for which the server has too little left is told with what to do', async () => {
    await expect(ensureStream(nats.bus, spec({ maxBytes: 20 * 1024 ** 3 }))).rejects.toMatchObject({
      code: 'STREAM_FULL',
      message: expect.stringContaining('maxBytes (21474836480)'),
    })
  })
})

describe('a stream that was removed under a running system', () => {
  it('is made again by who stores in it', async () => {
    const own = spec()
    const put = (text: string) =>
      persistIn(nats.bus, own, own.subjects[0]!, Buffer.from(text), { deadline: Date.now() + 10_000 })
    expect(await put('a')).toMatchObject({ sequence: 1 })
    await removeStream(nats.bus, own.name)
    expect(await put('b')).toMatchObject({ sequence: 1 })
  })

  it('and is made by nobody is told at once, however much time there is', async () => {
    const startedAt = performance.now()
    const options = { deadline: Date.now() + 60_000, deduplicated: true }
    expect(await codeOf(persist(nats.bus, 'nobody.takes.this', Buffer.from('x'), options))).toBe('STREAM_NOT_FOUND')
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  })
})
