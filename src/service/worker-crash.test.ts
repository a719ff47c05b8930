import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { crash } from '../../test/fixtures/crash-contract.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { type Bus, MyelinError, streamInfo } from '../bus/internal.ts'
import { contract, jobStream } from '../contract/internal.ts'
import { client, deadLetters, serve, service } from './index.ts'

const nats = withNats()
const left = async (service: string, job: string) =>
  (await streamInfo(nats.bus, jobStream(service, job)))?.state.messages ?? 0

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A worker in a process of its own, and the jobs it did; killed -9 when it begins its `diesAt`-th. */
async function workerProcess(diesAt?: number) {
  const args = [nats.server.url, ...(diesAt === undefined ? [] : [String(diesAt)])]
  const child = fork(new URL('../../test/fixtures/crash-worker.ts', import.meta.url), args, {
    execArgv: ['--conditions=myelin-source'],
  })
  children.push(child)
  const did: number[] = []
  const ready = Promise.withResolvers<void>()
  child.on('message', (report: 'ready' | { did: number }) => {
    if (report === 'ready') ready.resolve()
    else did.push(report.did)
  })
  const dead = once(child, 'close').then(([, signal]) => signal)
  await Promise.race([ready.promise, dead])
  return { did, dead }
}

describe('a worker killed in the middle of its jobs', () => {
  it('loses none: another does what it had not finished', async () => {
    const api = client(nats.bus, crash)
    for (let n = 0; n < 200; n++) await api.step.enqueue({ n })
    const first = await workerProcess(60)
    expect(await first.dead).toBe('SIGKILL')
    expect(first.did.length).toBeGreaterThan(0)
    expect(await left('crash', 'step')).toBeGreaterThan(100)
    const second = await workerProcess()
    await until(async () => (await left('crash', 'step')) === 0, 15_000)
    await until(() => new Set([...first.did, ...second.did]).size === 200)
    // what the first had finished is repeated only where its acknowledgement was lost with it
    expect(second.did.filter((n) => first.did.includes(n)).length).toBeLessThanOrEqual(8)
    expect(second.did.length).toBe(new Set(second.did).size)
    expect(await deadLetters(nats.bus, 'crash')).toEqual([])
  })

  it('together with all others leaves its jobs to the next that starts', async () => {
    const api = client(nats.bus, crash)
    const workers = await Promise.all([workerProcess(20), workerProcess(30)])
    await Promise.all(Array.from({ length: 200 }, (_, n) => api.step.enqueue({ n })))
    for (const { dead } of workers) expect(await dead).toBe('SIGKILL')
    expect(await left('crash', 'step')).toBeGreaterThanOrEqual(150)
    workers.push(await workerProcess())
    await until(async () => (await left('crash', 'step')) === 0, 15_000)
    await until(() => new Set(workers.flatMap(({ did }) => did)).size === 200)
  })
})

describe('tries', () => {
  const payload = z.object({ n: z.number() })
  const mortal = contract('mortal', {
    version: '1.0.0',
    jobs: {
      once: { payload, concurrency: 4, lease: '1s', attempts: 1 },
      deadly: { payload, lease: '1s', attempts: 3 },
    },
  })
  let deaths = 0
  /** A worker that dies, to the server, with a job of `n` 0 (its connection ends and it says nothing any more). */
  async function mortalWorker() {
    const did: number[] = []
    const state = { deaths: 0 }
    const begin = ({ n }: { n: number }, { bus }: { bus: Bus }) => {
      if (n > 0) {
        did.push(n)
        return
      }
      state.deaths += 1
      deaths += 1
      void bus.nats.close()
      return new Promise(() => undefined)
    }
    // it may die while it still starts
    await serve(await nats.connect(), service(mortal, { once: begin, deadly: begin })).catch(() => undefined)
    return { did, state }
  }

  it('are begins: what a dead worker had only fetched is done by others, even where one try is all there is', async () => {
    const api = client(nats.bus, mortal)
    for (let n = 0; n < 100; n++) await api.once.enqueue({ n })
    const first = await mortalWorker()
    await until(() => first.state.deaths === 1)
    const second = await mortalWorker()
    await until(async () => (await left('mortal', 'once')) === 0)
    const letters = await deadLetters(nats.bus, 'mortal')
    // the job that killed it, and those begun with it: done, and nobody could be informed
    expect(letters[0]).toMatchObject({ code: 'LEASE_EXPIRED', attempts: 1, payload: '{"n":0}' })
    expect(letters.length).toBeLessThanOrEqual(4)
    expect(second.state.deaths).toBe(0)
    expect(new Set([0, ...first.did, ...second.did]).size).toBe(100)
  })

  it('of a job that kills its worker are counted: it is a dead letter after as many as it has', async () => {
    const workers = [await mortalWorker(), await mortalWorker(), await mortalWorker(), await mortalWorker()]
    const before = deaths
    await client(nats.bus, mortal).deadly.enqueue({ n: 0 })
    await until(async () => (await left('mortal', 'deadly')) === 0, 30_000)
    expect(deaths - before).toBe(3)
    expect(workers.filter(({ state }) => state.deaths === 0).length).toBeGreaterThanOrEqual(1)
    expect((await deadLetters(nats.bus, 'mortal', { name: 'deadly' }))[0]).toMatchObject({
      code: 'LEASE_EXPIRED',
      attempts: 3,
    })
  })

  it('are reported to the handler: a delivery that was never begun, and a try that a drain cut off, are none', async () => {
    const counted = contract('counted', {
      version: '1.0.0',
      jobs: { run: { payload: z.object({ n: z.number() }), attempts: 5, backoff: { from: 5, to: 5 }, concurrency: 1 } },
    })
    const attempts: number[] = []
    const slow = service(counted, {
      run: (_, { signal, attempt }) =>
        new Promise((_resolve, reject) => {
          attempts.push(attempt)
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
    })
    const first = await serve(await nats.connect(), slow)
    const api = client(nats.bus, counted)
    for (const n of [1, 2]) await api.run.enqueue({ n })
    await until(() => attempts.length === 1)
    await first.drain()
    const seen: string[] = []
    await using _ = await serve(
      nats.bus,
      service(counted, {
        run: ({ n }, { attempt }) => {
          seen.push(`${n}: ${attempt}`)
          if (attempt < 3) throw new Error('not yet')
        },
      }),
    )
    await until(async () => (await left('counted', 'run')) === 0)
    expect(attempts).toEqual([1])
    expect(seen.toSorted()).toEqual(['1: 1', '1: 2', '1: 3', '2: 1', '2: 2', '2: 3'])
  })

  it("are not saved on a job whose handler says that others' input was wrong", async () => {
    const outer = contract('outerjobs', {
      version: '1.0.0',
      jobs: { run: { payload: z.object({}), attempts: 2, backoff: { from: 5, to: 5 } } },
    })
    let tries = 0
    await using _ = await serve(
      nats.bus,
      service(outer, {
        run: () => {
          tries += 1
          throw new MyelinError('INVALID_INPUT', 'what another service said')
        },
      }),
    )
    await client(nats.bus, outer).run.enqueue({})
    await until(async () => (await deadLetters(nats.bus, 'outerjobs').catch(() => [])).length === 1)
    expect(tries).toBe(2)
  })
})

describe('a job', () => {
  const chores = contract('chores', {
    version: '1.0.0',
    jobs: {
      long: { payload: z.object({ ms: z.number() }), lease: '1s' },
      later: { payload: z.object({ n: z.number() }) },
      once: { payload: z.object({ key: z.string() }), unique: 'key' },
      hopeless: { payload: z.object({ n: z.number() }) },
      stuck: { payload: z.object({}), attempts: 2, timeout: '100ms', backoff: { from: 5, to: 5 } },
    },
  })
  const makeChores = () => {
    const log: { job: string; at: number; value?: unknown }[] = []
    const gate = Promise.withResolvers<void>()
    const unit = service(chores, {
      long: async ({ ms }) => {
        log.push({ job: 'long', at: Date.now() })
        await new Promise((resolve) => setTimeout(resolve, ms))
        log.push({ job: 'long done', at: Date.now() })
      },
      later: ({ n }) => void log.push({ job: 'later', at: Date.now(), value: n }),
      once: async ({ key }) => {
        log.push({ job: 'once', at: Date.now(), value: key })
        await gate.promise
      },
      hopeless: () => void log.push({ job: 'hopeless', at: Date.now() }),
      stuck: (_, { signal }) => {
        log.push({ job: 'stuck', at: Date.now() })
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    return { unit, gate, jobs: (name: string) => log.filter(({ job }) => job === name) }
  }

  it('that takes longer than its lease keeps it while its worker lives: it is done once', async () => {
    const { unit, jobs } = makeChores()
    await using _one = await serve(await nats.connect(), unit)
    await using _two = await serve(await nats.connect(), unit)
    await client(nats.bus, chores).long.enqueue({ ms: 3_000 })
    await until(async () => jobs('long done').length > 0 && (await left('chores', 'long')) === 0)
    expect(jobs('long').length).toBe(1)
  })

  it('that is delayed is not done before its time, though nobody stays up for it', async () => {
    const api = client(await nats.connect(), chores)
    const before = Date.now()
    await api.later.enqueue({ n: 1 }, { delayMs: 1_500 })
    await api.later.enqueue({ n: 2 })
    const { unit, jobs } = makeChores()
    await using _ = await serve(nats.bus, unit)
    await until(() => jobs('later').length === 2)
    expect(jobs('later').map(({ value }) => value)).toEqual([2, 1])
    expect(jobs('later')[1]!.at - before).toBeGreaterThanOrEqual(1_500)
    expect(await codeOf(api.later.enqueue({ n: 3 }, { delayMs: -1 }))).toBe('INVALID_OPTION')
  })

  it('with a unique key is ALREADY_QUEUED while one waits or runs, and welcome after it is done', async () => {
    const api = client(nats.bus, chores)
    await api.once.enqueue({ key: 'a' })
    expect(await codeOf(api.once.enqueue({ key: 'a' }))).toBe('ALREADY_QUEUED')
    expect(await codeOf(api.once.enqueue({ key: 'b' }))).toBe('none')
    const { unit, gate, jobs } = makeChores()
    await using _ = await serve(nats.bus, unit)
    await until(() => jobs('once').length === 2)
    expect(await codeOf(api.once.enqueue({ key: 'a' }))).toBe('ALREADY_QUEUED')
    gate.resolve()
    await until(async () => (await codeOf(api.once.enqueue({ key: 'a' }))) === 'none')
    await until(() => jobs('once').length === 3)
    expect(await codeOf(api.once.enqueue({ key: 'a b' }))).toBe('INVALID_INPUT')
  })

  it('with a unique key waits once for its time, or to be done, whichever was asked for first', async () => {
    const delayed = contract('delayed', {
      version: '1.0.0',
      jobs: { run: { payload: z.object({ key: z.string(), n: z.number() }), unique: 'key' } },
    })
    const api = client(await nats.connect(), delayed)
    const first = await api.run.enqueue({ key: 'a', n: 1 }, { delayMs: 1_000, id: 'first' })
    expect(await codeOf(api.run.enqueue({ key: 'a', n: 2 }, { delayMs: 1_000 }))).toBe('ALREADY_QUEUED')
    expect(await codeOf(api.run.enqueue({ key: 'a', n: 3 }))).toBe('ALREADY_QUEUED')
    expect(await api.run.enqueue({ key: 'a', n: 1 }, { delayMs: 1_000, id: 'first' })).toMatchObject({
      sequence: first.sequence,
      duplicate: true,
    })
    await api.run.enqueue({ key: 'b', n: 4 }, { id: 'b' })
    expect(await api.run.enqueue({ key: 'b', n: 4 }, { id: 'b' })).toMatchObject({ duplicate: true })
    expect(await codeOf(api.run.enqueue({ key: 'b', n: 5 }, { delayMs: 1_000 }))).toBe('ALREADY_QUEUED')
    const both = await Promise.all(
      Array.from({ length: 10 }, (_, n) => codeOf(api.run.enqueue({ key: 'c', n: 6 }, n % 2 ? {} : { delayMs: 500 }))),
    )
    expect(both.filter((code) => code === 'none').length).toBe(1)
    // two whose time passed without being published, as when a stranger's job of the key was there: one of ours, and one
    // that version 0.1.0 left
    const past = 'Nats-Schedule:@at 2001-01-01T00:00:00Z\r\nNats-Schedule-Target:job.delayed.run.d\r\n'
    await nats.bus.request('job.delayed.run.d', Buffer.from('{"key":"d","n":7}'))
    await nats.bus.request('job.delayed.run._at.x', Buffer.from('{"key":"d","n":8}'), { headerLines: past })
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const done: number[] = []
    await using _ = await serve(nats.bus, service(delayed, { run: ({ n }) => void done.push(n) }))
    await until(async () => (await left('delayed', 'run')) === 0)
    expect(done.toSorted()).toEqual([1, 4, 6, 7, 8])
    expect(await codeOf(api.run.enqueue({ key: 'a', n: 9 }, { delayMs: Number.POSITIVE_INFINITY }))).toBe(
      'INVALID_OPTION',
    )
  })

  it('is read as it was written, by clients that write MessagePack too', async () => {
    const { unit, jobs } = makeChores()
    await using _ = await serve(nats.bus, unit)
    await client(await nats.connect({ codec: 'msgpack' }), chores).later.enqueue({ n: 42 })
    await until(() => jobs('later').some(({ value }) => value === 42))
  })

  it('with the id of another is stored once', async () => {
    const api = client(nats.bus, chores)
    const first = await api.later.enqueue({ n: 7 }, { id: 'seven' })
    expect(await api.later.enqueue({ n: 7 }, { id: 'seven' })).toEqual({ sequence: first.sequence, duplicate: true })
    const { unit, jobs } = makeChores()
    await using _ = await serve(nats.bus, unit)
    await until(async () => (await left('chores', 'later')) === 0)
    expect(jobs('later').filter(({ value }) => value === 7).length).toBe(1)
  })

  it('that can never fit its schema is not tried, and one that hangs past its timeout is tried again', async () => {
    const { unit, jobs } = makeChores()
    await using running = await serve(nats.bus, unit)
    const api = client(nats.bus, chores)
    expect(await codeOf(api.hopeless.enqueue({ n: 'x' as never }))).toBe('INVALID_INPUT')
    await nats.bus.request('job.chores.hopeless', Buffer.from('{nope'))
    await api.stuck.enqueue({})
    await until(async () => (await deadLetters(nats.bus, 'chores')).length === 2)
    const letters = await deadLetters(nats.bus, 'chores')
    expect(letters.find(({ name }) => name === 'hopeless')).toMatchObject({ code: 'MALFORMED_PAYLOAD', attempts: 1 })
    expect(letters.find(({ name }) => name === 'stuck')).toMatchObject({ code: 'DEADLINE_EXCEEDED', attempts: 2 })
    expect(jobs('hopeless').length).toBe(0)
    expect(jobs('stuck').length).toBe(2)
    await until(() => running.stats?.().jobsDead === 2)
  })

  it('given back by a worker that drains is done by another, not counted as failed', async () => {
    const { unit, jobs } = makeChores()
    const draining = await serve(await nats.connect(), unit)
    const api = client(nats.bus, chores)
    await Promise.all(Array.from({ length: 100 }, () => api.long.enqueue({ ms: 50 })))
    await until(() => jobs('long').length > 0)
    await draining.drain()
    expect(jobs('long done').length).toBe(jobs('long').length)
    await using other = await serve(await nats.connect(), unit)
    await until(async () => (await left('chores', 'long')) === 0)
    expect(jobs('long done').length).toBe(100)
    expect(other.stats?.()).toMatchObject({ jobsFailed: 0, jobsDead: 0 })
  })
})
