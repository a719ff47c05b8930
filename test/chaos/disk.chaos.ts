// A disk that is really full: what producers are told, and that all goes on by itself once there is room again. Needs a
// file system of its own, a few MB large; only root may mount one.
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type Bus,
  bucket,
  connect,
  type EmbeddedNats,
  embeddedNats,
  ensureStream,
  now,
  Objects,
  streamInfo,
  streamWriter,
} from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client } from '../../src/service/index.ts'
import { codeOf, until } from '../support/nats.ts'

const folder = await mkdtemp(join(tmpdir(), 'myelin-disk-'))
const mounted = mount()
const filler = join(folder, 'filler')

function mount(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', folder], { stdio: 'pipe' })
    return true
  } catch (error) {
    console.warn(
      `SKIPPED: the tests of a full disk need to mount a small file system; run them as root on Linux: sudo npm run test:chaos -- disk (${error})`,
    )
    return false
  }
}

afterAll(async () => {
  if (mounted) execFileSync('umount', ['-l', folder])
  await rm(folder, { recursive: true, force: true })
})

const shop = contract('shop', {
  version: '1.0.0',
  events: { sold: { payload: z.object({ n: z.number(), note: z.string() }), durable: true } },
  jobs: { pack: { payload: z.object({ n: z.number() }) } },
})

describe.skipIf(!mounted)('a disk that gets full', () => {
  let server: EmbeddedNats
  let bus: Bus
  const events: string[] = []
  beforeAll(async () => {
    server = await embeddedNats({ storeDir: join(folder, 'store'), onEvent: ({ type }) => events.push(type) })
    bus = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await bus?.close()
    await server?.stop()
  })

  it('makes every producer fail with STREAM_FULL, and takes all of them again once there is room', async () => {
    const api = client(bus, shop)
    const facts = await bucket<string>(bus, 'facts', {})
    const objects = new Objects(bus, 'pictures')
    await ensureStream(bus, { name: 'ROWS', subjects: ['rows'] })
    const waits: string[] = []
    const writer = await streamWriter(bus, 'ROWS', { ackTimeoutMs: 1_000, onWait: ({ code }) => waits.push(code) })
    const producers = {
      publish: () => api.sold.publish({ n: 1, note: 'x'.repeat(20_000) }, { timeoutMs: 4_000 }),
      enqueue: () => api.pack.enqueue({ n: 1 }, { timeoutMs: 4_000 }),
      put: () => facts.put('color', 'x'.repeat(20_000), { timeoutMs: 4_000 }),
      object: () => objects.put('cat', Buffer.alloc(300_000), { deadline: now() + 4_000 }),
    }
    for (const produce of Object.values(producers)) await produce()

    // somebody else takes all of the disk but some pages
    await writeFile(filler, Buffer.alloc(64 * 1024 * 1024)).catch(() => undefined)
    let published = 0
    const first = await codeOf(
      (async () => {
        for (; published < 1_000; published++) await producers.publish()
      })(),
    )
    expect(first).toBe('STREAM_FULL')
    const codes = await Promise.all(Object.values(producers).map((produce) => codeOf(produce())))
    expect(codes).toEqual(['STREAM_FULL', 'STREAM_FULL', 'STREAM_FULL', 'STREAM_FULL'])
    expect(await codeOf(ensureStream(bus, { name: 'MORE', subjects: ['more'] }))).toMatch(/none|STREAM_FULL/)
    for (let i = 0; i < 20; i++) writer.add('rows', Buffer.alloc(1_000))
    writer.send()
    await until(() => waits.includes('STREAM_FULL'))
    expect(events.filter((type) => type === 'disk-full')).toHaveLength(1)

    await rm(filler)
    const waiting = api.sold.publish({ n: 2, note: '' }, { timeoutMs: 60_000 }) // it rides over
    await waiting
    for (const produce of Object.values(producers)) await produce()
    await writer.flush()
    expect((await streamInfo(bus, 'ROWS'))?.state.messages).toBe(20)
    expect(events).toContain('disk-freed')
    expect(server.restarts).toBe(2)
  }, 180_000)
})

describe.skipIf(!mounted)('a server that started on a disk with little room', () => {
  it('takes more than that once there is more', async () => {
    await writeFile(filler, Buffer.alloc(24 * 1024 * 1024))
    const events: string[] = []
    await using server = await embeddedNats({
      storeDir: join(folder, 'second'),
      onEvent: ({ type }) => events.push(type),
    })
    await using bus = await connect({ servers: server.url })
    const api = client(bus, shop)
    const some = async () => {
      for (let i = 0; i < 500; i++) await api.sold.publish({ n: i, note: 'x'.repeat(60_000) }, { timeoutMs: 3_000 })
    }
    expect(await codeOf(some())).toBe('STREAM_FULL')
    await rm(filler)
    await api.sold.publish({ n: 0, note: '' }, { timeoutMs: 60_000 })
    expect(events).toEqual(['started', 'disk-freed', 'died', 'restarted'])
  }, 120_000)
})
