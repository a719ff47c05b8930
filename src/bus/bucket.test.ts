import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { type BucketEntry, bucket, embeddedNats, removeStream, streamInfo } from './internal.ts'

const nats = withNats()
const name = () => `B${crypto.randomUUID().slice(0, 8)}`
const api = (verb: string, stream: string, body: object) =>
  nats.bus.request(`$JS.API.STREAM.${verb}.${stream}`, Buffer.from(JSON.stringify(body))).then((reply) => {
    const { error } = reply.json<{ error?: { description: string } }>()
    if (error) throw new Error(error.description)
  })

describe('a bucket', () => {
  it('keeps the latest value of each key and gives up what was removed', async () => {
    const gates = await bucket<{ open: boolean }>(nats.bus, name())
    expect(await gates.get('ATL.7')).toMatchObject({ value: undefined, revision: 0 })
    await gates.put('ATL.7', { open: true })
    const last = await gates.put('ATL.7', { open: false })
    await gates.put('SFO.1', { open: true })
    expect(await gates.get('ATL.7')).toMatchObject({ key: 'ATL.7', value: { open: false }, revision: last })
    expect((await gates.keys('ATL.>')).sort()).toEqual(['ATL.7'])
    await gates.delete('ATL.7')
    expect((await gates.get('ATL.7')).value).toBeUndefined()
    expect((await gates.entries()).map(({ key }) => key)).toEqual(['SFO.1'])
  })

  it('writes only upon the revision that was read: of two writers one is told WRONG_SEQUENCE', async () => {
    const gates = await bucket<number>(nats.bus, name())
    const first = await gates.create('a', 1)
    expect(await codeOf(gates.create('a', 2))).toBe('WRONG_SEQUENCE')
    expect(await codeOf(gates.update('a', 2, first + 1))).toBe('WRONG_SEQUENCE')
    const tries = await Promise.all([2, 3].map((value) => codeOf(gates.update('a', value, first))))
    expect(tries.sort()).toEqual(['WRONG_SEQUENCE', 'none'])
    expect(await codeOf(gates.delete('a', { revision: first }))).toBe('WRONG_SEQUENCE')
    await gates.delete('a')
    await gates.create('a', 4) // a key that was removed is free again
    expect((await gates.get('a')).value).toBe(4)
  })

  it('takes a value that does not fit its schema, or is no JSON, for none, and says why', async () => {
    const made = name()
    const counts = await bucket(nats.bus, made, { schema: z.object({ count: z.number() }) })
    await nats.bus.request(`$KV.${made}.a`, Buffer.from('{"count":"many"}'))
    await nats.bus.request(`$KV.${made}.b`, Buffer.from('{'))
    expect((await counts.get('a')).refused).toMatchObject({ code: 'INVALID_INPUT' })
    const { value, revision, refused } = await counts.get('b')
    expect([value, refused?.code]).toEqual([undefined, 'MALFORMED_PAYLOAD'])
    await counts.update('b', { count: 1 }, revision) // and it can be put right
    expect((await counts.get('b')).value).toEqual({ count: 1 })
  })

  it('refuses keys that would be another subject', async () => {
    const gates = await bucket(nats.bus, name())
    for (const key of ['', 'a b', 'a\r\nNats-Rollup:all', '*', 'a.>', '.a', 'a..b', 'a.']) {
      expect([key, await codeOf(gates.put(key, 1)), await codeOf(gates.get(key))]).toEqual([
        key,
        'INVALID_INPUT',
        'INVALID_INPUT',
      ])
    }
    expect(await codeOf(bucket(nats.bus, 'a.b'))).toBe('INVALID_OPTION')
  })
})

describe('a watch over a bucket', () => {
  const watched = async (from: Awaited<ReturnType<typeof bucket<number>>>, filter = '>') => {
    const reported: string[] = []
    const note = ({ key, value, revision }: BucketEntry<number>) =>
      reported.push(`${key}=${value ?? (revision === 0 ? 'gone' : 'deleted')}`)
    const watch = await from.watch(note, { filter })
    return { reported, watch }
  }

  it('tells what there is before it resolves, also of an empty bucket, then every change', async () => {
    const counts = await bucket<number>(nats.bus, name(), { history: 5 })
    const empty = await watched(counts)
    for (let i = 0; i < 1_500; i++) void counts.put(`k${i % 300}`, i)
    await counts.put('last', 1)
    const full = await watched(counts)
    expect([new Set(full.reported).size, full.reported.at(-1)]).toEqual([301, 'last=1'])
    await counts.delete('k7')
    await until(() => empty.reported.at(-1) === 'k7=deleted' && full.reported.at(-1) === 'k7=deleted')
    await Promise.all([empty.watch.stop(), full.watch.stop()])
  })

  it('goes on with a bucket that was removed and made again, and tells which keys are gone', async () => {
    const made = name()
    const counts = await bucket<number>(nats.bus, made)
    await counts.put('a', 1)
    await counts.put('b', 1)
    const { reported, watch } = await watched(counts)
    await removeStream(nats.bus, `KV_${made}`)
    await counts.put('b', 2) // the bucket is made again by whoever writes
    await until(() => reported.includes('b=2') && reported.includes('a=gone'), 20_000)
    await counts.put('c', 3)
    await until(() => reported.at(-1) === 'c=3')
    await watch.stop()
  })

  it('goes on after a restart of the server', async () => {
    const server = await embeddedNats()
    const bus = await nats.connect({ servers: server.url })
    const counts = await bucket<number>(bus, name())
    await counts.put('a', 1)
    const { reported, watch } = await watched(counts)
    process.kill(server.pid, 'SIGKILL')
    await until(async () => (await codeOf(counts.put('a', 2))) === 'none', 20_000)
    await until(() => reported.includes('a=2'), 20_000)
    await watch.stop()
    await bus.close()
    await server.stop()
  })
})

describe('what the server copies into a bucket', () => {
  it('from another stream counts for nothing, for a get and for a watch', async () => {
    const made = name()
    const rules = await bucket<string>(nats.bus, made)
    await rules.put('a', 'ours')
    await api('CREATE', `F_${made}`, {
      name: `F_${made}`,
      subjects: [`forge.${made}.*`],
      republish: { src: `forge.${made}.*`, dest: `$KV.${made}.{{wildcard(1)}}` },
    })
    const seen: unknown[] = []
    const watch = await rules.watch(({ key, value, refused }) => seen.push([key, value, refused?.code]))
    await nats.bus.request(`forge.${made}.a`, Buffer.from('"forged"'), {
      headerLines: `Nats-Stream:KV_${made}\r\nNats-Stream-Source:\r\n`,
    })
    await until(() => seen.length === 2)
    expect(seen[1]).toEqual(['a', undefined, 'FORBIDDEN'])
    const { value, refused } = await rules.get('a')
    expect([value, refused?.code]).toEqual([undefined, 'FORBIDDEN'])
    await watch.stop()
  })

  it.each([
    ['sources', { sources: [{ name: 'ANY' }] }],
    ['mirror', { mirror: { name: 'ANY' }, subjects: undefined }],
    ['republish', { republish: { src: '>', dest: 'out.>' } }],
    ['subject_transform', { subject_transform: { src: '>', dest: '$KV.other.>' } }],
    ['schedules', { allow_msg_schedules: true }],
    ['other subjects', { extra: true }],
  ])('is looked for before it is opened: one made with %s is refused', async (_, config) => {
    const made = name()
    const { extra, ...rest } = { extra: false, ...config }
    const subjects = [`$KV.${made}.>`, ...(extra ? [`x.${made}`] : [])]
    await api('CREATE', `KV_${made}`, { name: `KV_${made}`, subjects, ...rest })
    expect(await codeOf(bucket(nats.bus, made))).toBe('STREAM_MISMATCH')
    expect((await streamInfo(nats.bus, `KV_${made}`))!.state.messages).toBe(0)
  })
})
