// What a cluster keeps, and what producers, buckets and writers see while its nodes die, leave, freeze and come back.
import { join } from 'node:path'
import { jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Bus,
  belowWish,
  bucket,
  connect,
  consume,
  ensureStream,
  header,
  headerLine,
  now,
  type Persisted,
  persist,
  streamInfo,
  streamWriter,
} from '../../src/bus/index.ts'
import { parseComposition, up } from '../../src/runtime/index.ts'
import { view } from '../../src/stream/index.ts'
import { ensureParts } from '../../src/stream/view.ts'
import { createLogger } from '../../src/unit/index.ts'
import { type Cluster, natsCluster } from '../support/cluster.ts'
import { codeOf, until } from '../support/nats.ts'

let cluster: Cluster
let bus: Bus
beforeAll(async () => {
  cluster = await natsCluster()
  bus = await connect({ servers: [...cluster.urls] })
})
afterAll(async () => {
  await bus?.close()
  await cluster?.stop()
})

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const name = () => `S${crypto.randomUUID().slice(0, 8)}`

/** Publishes with ids until told to stop; what was acknowledged, and what not. */
function producer(subject: string) {
  const acknowledged = new Map<string, Persisted>()
  const failed: string[] = []
  let longestMs = 0
  let stopped = false
  const lane = async (number: number) => {
    for (let i = 0; !stopped; i++) {
      const id = `${number}-${i}`
      const at = performance.now()
      await persist(bus, subject, Buffer.from(id), {
        deadline: now() + 60_000,
        headerLines: headerLine(header.messageId, id),
        deduplicated: true,
      }).then(
        (stored) => acknowledged.set(id, stored),
        (error) => failed.push(`${error.code}: ${error.message}`),
      )
      longestMs = Math.max(longestMs, performance.now() - at)
      await pause(20)
    }
  }
  const lanes = Promise.all(Array.from({ length: 30 }, (_, number) => lane(number)))
  return {
    acknowledged,
    failed,
    async stop() {
      stopped = true
      await lanes
      return longestMs
    },
  }
}

async function stored(stream: string): Promise<string[]> {
  const { last_seq: end } = (await streamInfo(bus, stream))!.state
  const found: string[] = []
  const done = Promise.withResolvers<void>()
  const reader = await consume(bus, {
    stream,
    from: 'start',
    onMessage: (message) => {
      found.push(Buffer.from(message.data).toString())
      reader.release()
      if (message.sequence >= end) done.resolve()
    },
  })
  await done.promise
  await reader.stop()
  return found
}

describe('a cluster of three', () => {
  it('keeps three copies of everything that does not say otherwise, raises what has fewer and lowers nothing', async () => {
    const own = { name: name(), subjects: [`a.${name()}`] }
    await ensureStream(bus, { ...own, replicas: 1 })
    const replicas = async (stream: string) => (await streamInfo(bus, stream))!.config.num_replicas
    expect(await replicas(own.name)).toBe(1)
    await ensureStream(bus, own)
    expect(await replicas(own.name)).toBe(3)
    await ensureStream(bus, { ...own, replicas: 1, maxMessages: 7 })
    expect(await replicas(own.name)).toBe(3)
    await bucket(bus, 'COPIES')
    expect(await replicas('KV_COPIES')).toBe(3)
    await using single = await connect({ servers: [...cluster.urls], replicas: 1 })
    await bucket(single, 'COPIES')
    await bucket(single, 'ONE')
    expect([await replicas('KV_COPIES'), await replicas('KV_ONE')]).toEqual([3, 1])
    expect(await belowWish(bus)).toEqual([{ stream: 'KV_ONE', replicas: 1, wanted: 3 }])
    expect(await belowWish(single)).toEqual([])
    expect(await codeOf(ensureStream(bus, { ...own, replicas: 5 }))).toBe('REPLICAS_UNAVAILABLE')
  })

  it('keeps what a composition stores as its storage says, in every process, and a view as the view itself says', async () => {
    const composition = parseComposition(
      { name: 'kept', storage: { replicas: 2 }, units: { parts: { use: './units/parts.ts', isolation: 'process' } } },
      'kept',
    )
    const folder = join(import.meta.dirname, '../fixtures')
    await using own = await connect({ servers: [...cluster.urls] })
    await using running = await up(own, { composition, file: 'kept', folder }, { log: createLogger() })
    await until(() => running.status().every(({ state }) => state === 'ready'), 60_000)
    const [one, several] = [view('one', { key: 'k', replicas: 1 }), view('several', { key: 'k', replicas: 3 })]
    await ensureParts(own, one, 1)
    await ensureParts(own, several, 2)
    const replicas = new Map<string, number>()
    for await (const { config } of (await jetstreamManager(own.nats)).streams.list())
      replicas.set(config.name, config.num_replicas)
    expect(replicas.get('VIEW_one')).toBe(1)
    const three = ['VIEW_several', 'VIEWPART_several_0', 'VIEWPART_several_1']
    expect(three.map((stream) => replicas.get(stream))).toEqual([3, 3, 3])
    const unit = [...replicas].filter(([stream]) => /parts|KV_MYELIN|BEATS/.test(stream))
    expect(unit.length).toBeGreaterThan(4)
    expect(unit.filter(([, count]) => count !== 2)).toEqual([])
  })

  it.each([
    ['its leader is killed -9', async (stream: string) => cluster.leaderOf(bus, stream)],
    ['the meta leader is killed -9', async () => cluster.metaLeader()],
  ])('loses and doubles nothing that was acknowledged when %s', async (_, victimOf) => {
    const own = { name: name(), subjects: [`b.${name()}`] }
    await ensureStream(bus, own)
    const producing = producer(own.subjects[0]!)
    let longestMs: number
    try {
      await pause(1_000)
      const victim = await victimOf(own.name)
      await cluster.kill(victim)
      await pause(8_000)
      await cluster.start(victim)
      await pause(1_000)
    } finally {
      longestMs = await producing.stop()
    }
    await cluster.settled()
    const all = await stored(own.name)
    console.log(`${all.length} stored, longest wait ${Math.round(longestMs)} ms`)
    expect(producing.failed).toEqual([])
    expect(new Set(all).size).toBe(all.length)
    expect([...producing.acknowledged.keys()].filter((id) => !new Set(all).has(id))).toEqual([])
  })

  it('goes on after two of three were down, and tells meanwhile what is known', async () => {
    const own = { name: name(), subjects: [`c.${name()}`] }
    await ensureStream(bus, own)
    const state = await bucket<number>(bus, 'QUORUM')
    const revision = await state.put('a', 1)
    const leader = await cluster.leaderOf(bus, own.name)
    const [first, second] = [0, 1, 2].filter((node) => node !== leader) as [number, number]
    await Promise.all([cluster.kill(first), cluster.kill(second)])
    const late = await persist(bus, own.subjects[0]!, Buffer.from('x'), {
      deadline: now() + 6_000,
      headerLines: headerLine(header.messageId, 'x'),
      deduplicated: true,
    }).catch((error) => error)
    expect(['DEADLINE_EXCEEDED', 'NO_LEADER'], late.message).toContain(late.code)
    expect(late.data.stored).toBe(late.code === 'NO_LEADER' ? false : 'unknown')
    const waiting = state.update('a', 2, revision, { timeoutMs: 60_000 })
    await pause(1_000)
    await Promise.all([cluster.start(first), cluster.start(second)])
    await cluster.settled()
    expect(await waiting).toBeGreaterThan(revision)
    expect(await codeOf(state.update('a', 3, revision))).toBe('WRONG_SEQUENCE')
    expect((await state.get('a')).value).toBe(2)
  })

  it('is written by one writer through a rolling restart and a frozen node, each row once and in order', async () => {
    const own = { name: name(), subjects: [`d.${name()}`] }
    await ensureStream(bus, own)
    const writer = await streamWriter(bus, own.name)
    let added = 0
    let stopped = false
    const writing = (async () => {
      while (!stopped) {
        for (let i = 0; i < 100; i++) writer.add(own.subjects[0]!, Buffer.from(String(added++)))
        await writer.ready()
        await pause(50)
      }
      await writer.flush()
    })()
    try {
      for (const node of [0, 1, 2]) {
        await cluster.kill(node, 'SIGTERM')
        await cluster.start(node)
        await cluster.settled()
      }
      const leader = await cluster.leaderOf(bus, own.name)
      cluster.freeze(leader)
      await pause(8_000)
      cluster.thaw(leader)
      await pause(1_000)
    } finally {
      stopped = true
    }
    await writing
    await cluster.settled()
    const all = await stored(own.name)
    expect(all).toEqual(Array.from({ length: added }, (_, i) => String(i)))
  })

  it('tells watches of buckets the latest value, in order, while each node is killed in turn', async () => {
    const state = await bucket<number>(bus, 'WATCHED')
    const seen: number[] = []
    const watch = await state.watch(({ value }) => value !== undefined && seen.push(value))
    let revision = 0
    let written = 0
    for (const node of [0, 1, 2]) {
      await cluster.kill(node)
      for (let i = 0; i < 5; i++) {
        written = revision
        revision = await state.update('a', written, revision, { timeoutMs: 30_000 })
      }
      await cluster.start(node)
      await cluster.settled()
    }
    // a bucket keeps the latest value alone: what was replaced while a node was down is nobody's any more
    await until(() => seen.at(-1) === written, 30_000)
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
    await watch.stop()
  })
})
