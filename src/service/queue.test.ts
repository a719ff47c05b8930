import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Bus, connect, deleteMessage, type EmbeddedNats, embeddedNats, MyelinError } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, deadLetters, on, redrive, serve, service } from './index.ts'

let server: EmbeddedNats
let bus: Bus
beforeAll(async () => {
  server = await embeddedNats()
  bus = await connect({ servers: server.url })
})
afterAll(async () => {
  await bus?.close()
  await server?.stop()
})
const until = async (done: () => boolean | Promise<boolean>) => {
  for (let i = 0; i < 500 && !(await done()); i++) await new Promise((r) => setTimeout(r, 20))
}

describe('queueing', () => {
  it('does each job once, retries with backoff, and keeps what fails as a dead letter that can be redriven', async () => {
    const mail = contract('mail', {
      version: '1.0.0',
      jobs: { send: { payload: z.object({ to: z.string() }), attempts: 3, backoff: { from: '10ms', to: '50ms' } } },
    })
    const done: string[] = []
    const attempts: number[] = []
    let broken = true
    await using _ = await serve(
      bus,
      service(mail, {
        send: ({ to }, { attempt }) => {
          if (to === 'bad' && broken) {
            attempts.push(attempt)
            throw new Error('no such mailbox')
          }
          done.push(to)
        },
      }),
    )
    const api = client(bus, mail)
    for (let i = 0; i < 50; i++) await api.send.enqueue({ to: `n${i}` })
    await api.send.enqueue({ to: 'bad' })
    await until(async () => done.length === 50 && (await deadLetters(bus, 'mail')).length === 1)
    expect(new Set(done).size).toBe(50)
    expect(attempts).toEqual([1, 2, 3])
    const [letter] = await deadLetters(bus, 'mail')
    expect(letter).toMatchObject({
      kind: 'job',
      name: 'send',
      reason: 'no such mailbox',
      attempts: 3,
      payload: '{"to":"bad"}',
    })
    broken = false
    await redrive(bus, 'mail')
    await until(() => done.includes('bad'))
    expect(done.at(-1)).toBe('bad')
    expect(await deadLetters(bus, 'mail')).toEqual([])
  })

  it('puts back every dead letter that it can; one that is queued again holds up none of the others', async () => {
    const single = contract('single', {
      version: '1.0.0',
      jobs: { run: { payload: z.object({ key: z.string() }), unique: 'key', attempts: 1 } },
    })
    const failing = service(single, {
      run: () => {
        throw new Error('not now')
      },
    })
    const api = client(bus, single)
    const letters = async () => (await deadLetters(bus, 'single')).map(({ payload }) => JSON.parse(payload).key)
    const unit = await serve(bus, failing)
    for (const key of ['a', 'b', 'c', 'd']) await api.run.enqueue({ key })
    await until(async () => (await letters()).length === 4)
    await unit.drain()
    const [first, second, third, newest] = (await deadLetters(bus, 'single')).map(({ sequence }) => sequence)
    await deleteMessage(bus, 'DLQ_single', newest!)
    expect((await letters()).length).toBe(3) // though the newest of the stream is gone
    const [again] = await letters().then(([, key]) => [key])
    await api.run.enqueue({ key: again })
    const tried = await redrive(bus, 'single')
    expect(tried.map(({ sequence, error }) => [sequence, error?.code])).toEqual([
      [first, undefined],
      [second, 'ALREADY_QUEUED'],
      [third, undefined],
    ])
    expect(await letters()).toEqual([again])
  })

  it('rejects a second job of a unique key, and takes it when the first is done; delays a job', async () => {
    const tasks = contract('tasks', {
      version: '1.0.0',
      jobs: {
        run: { payload: z.object({ key: z.string() }), unique: 'key' },
        later: { payload: z.object({ n: z.number() }) },
      },
    })
    const api = client(bus, tasks)
    await api.run.enqueue({ key: 'a' })
    await expect(api.run.enqueue({ key: 'a' })).rejects.toMatchObject({ code: 'ALREADY_QUEUED' })
    await api.run.enqueue({ key: 'b' })
    const done: unknown[] = []
    const before = Date.now()
    await api.later.enqueue({ n: 1 }, { delayMs: 1_000 })
    let at = 0
    await using _ = await serve(
      bus,
      service(tasks, {
        run: ({ key }) => void done.push(key),
        later: () => {
          at = Date.now()
        },
      }),
    )
    await until(() => done.length === 2 && at > 0)
    expect(done.sort()).toEqual(['a', 'b'])
    expect(at - before).toBeGreaterThanOrEqual(1_000)
    await api.run.enqueue({ key: 'a' })
    await until(() => done.length === 3)
    expect(done.length).toBe(3)
  })
})

describe('publish/subscribe', () => {
  const news = contract('news', {
    version: '1.0.0',
    events: {
      flash: { payload: z.object({ n: z.number(), city: z.string() }), key: 'city' },
      kept: { payload: z.object({ n: z.number() }), durable: { maxAge: '1h' } },
    },
  })
  it('delivers core events by key and durable events from the start, and deduplicates by id', async () => {
    const api = client(bus, news)
    const sub = api.flash.subscribe({ key: 'ATL' })
    await sub.ready()
    await api.flash.publish({ n: 1, city: 'LAX' })
    await api.flash.publish({ n: 2, city: 'ATL' })
    const first = await sub.next()
    expect(first.value.payload).toEqual({ n: 2, city: 'ATL' })
    await sub.close()
    const stored = await api.kept.publish({ n: 1 }, { id: 'one' })
    expect(stored).toMatchObject({ sequence: 1, duplicate: false })
    expect(await api.kept.publish({ n: 1 }, { id: 'one' })).toMatchObject({ sequence: 1, duplicate: true })
    await api.kept.publish({ n: 2 })
    const seen: number[] = []
    for await (const event of api.kept.subscribe({ from: 'start' })) {
      seen.push(event.payload.n)
      if (seen.length === 2) break
    }
    expect(seen).toEqual([1, 2])
  })
  it('keeps rejected events of a service as dead letters and redrives them to that service only', async () => {
    const reader = contract('reader', { version: '1.0.0' })
    const seen: number[] = []
    let broken = true
    await using _ = await serve(
      bus,
      service(reader, {
        on: [
          on(news, 'kept', { from: 'start', attempts: 2, backoff: { from: 5, to: 5 } }, ({ n }) => {
            if (n === 2 && broken) throw new MyelinError('POISON', 'cannot read 2')
            seen.push(n)
          }),
        ],
      }),
    )
    await until(async () => seen.includes(1) && (await deadLetters(bus, 'reader').catch(() => [])).length === 1)
    expect((await deadLetters(bus, 'reader'))[0]).toMatchObject({
      kind: 'event',
      code: 'POISON',
      reason: 'cannot read 2',
    })
    broken = false
    await redrive(bus, 'reader')
    await until(() => seen.includes(2))
    expect(seen).toContain(2)
  })
})
