// Jobs and workers that are killed -9: what counts as a try. The quick form of it, with connections that end instead of
// processes, is in src/service/worker-crash.test.ts.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { streamInfo } from '../../src/bus/index.ts'
import { jobStream } from '../../src/contract/index.ts'
import { client, deadLetters } from '../../src/service/index.ts'
import { crash } from '../fixtures/crash-contract.ts'
import { until, withNats } from '../support/nats.ts'

const nats = withNats()
const left = async (job: string) => (await streamInfo(nats.bus, jobStream('crash', job)))?.state.messages ?? 0

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A worker in a process of its own, and the jobs it did; killed -9 when it begins its `diesAt`-th. */
async function workerProcess(diesAt?: number) {
  const args = [nats.server.url, ...(diesAt === undefined ? [] : [String(diesAt)])]
  const child = fork(new URL('../fixtures/crash-worker.ts', import.meta.url), args, {
    execArgv: ['--conditions=myelin-source'],
  })
  children.push(child)
  const did: number[] = []
  const ready = Promise.withResolvers<void>()
  child.on('message', (reported: 'ready' | { did: number }) => {
    if (reported === 'ready') ready.resolve()
    else did.push(reported.did)
  })
  const dead = once(child, 'close').then(([, signal]) => signal)
  await Promise.race([ready.promise, dead])
  return { did, dead }
}

describe('tries of jobs whose workers are killed -9', () => {
  it('are begins: what a killed worker had only fetched is done by others, even where one try is all there is', async () => {
    const api = client(nats.bus, crash)
    for (let n = 0; n < 200; n++) await api.once.enqueue({ n })
    const workers = [await workerProcess(30)]
    await workers[0]!.dead
    workers.push(await workerProcess(30))
    await workers[1]!.dead
    workers.push(await workerProcess())
    await until(async () => (await left('once')) === 0, 20_000)
    const letters = (await deadLetters(nats.bus, 'crash', { name: 'once' })).map(({ payload }) => JSON.parse(payload).n)
    const did = workers.flatMap((worker) => worker.did)
    // four were under way in each that died; a job is done, or nobody knows
    expect(letters.length).toBeGreaterThan(0)
    expect(letters.length).toBeLessThanOrEqual(8)
    await until(() => new Set([...did, ...workers.flatMap((worker) => worker.did), ...letters]).size === 200)
  })

  it('of a job that kills its worker are counted: it is a dead letter after as many as it has', async () => {
    const workers = await Promise.all([workerProcess(), workerProcess(), workerProcess(), workerProcess()])
    let deaths = 0
    for (const { dead } of workers) void dead.then(() => (deaths += 1))
    await client(nats.bus, crash).deadly.enqueue({ n: 0 })
    await until(async () => (await deadLetters(nats.bus, 'crash', { name: 'deadly' })).length === 1, 30_000)
    await until(() => deaths >= 3)
    expect(deaths).toBe(3)
    expect((await deadLetters(nats.bus, 'crash', { name: 'deadly' }))[0]).toMatchObject({
      code: 'LEASE_EXPIRED',
      attempts: 3,
      payload: '{"n":0}',
    })
  })
})
