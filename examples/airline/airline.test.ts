// The correctness bar of the main job: every (airport, hour) of the real flights, through feed → JetStream → windows, is
// what DuckDB says of the same file; also when processes are killed in the middle.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bus, connect, type EmbeddedNats, embeddedNats, streamInfo } from 'myelin/bus'
import { command } from 'myelin/control'
import { fleet } from 'myelin/heartbeat'
import { loadComposition, type Running, up } from 'myelin/runtime'
import { createLogger } from 'myelin/unit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../test/support/nats.ts'
import { expectSameAsDuckDB } from './same-as-duckdb.ts'

let server: EmbeddedNats
let bus: Bus
let storeDir: string
beforeEach(async () => {
  storeDir = await mkdtemp(join(tmpdir(), 'myelin-airline-'))
  server = await embeddedNats({ storeDir, memoryLimitBytes: 300 * 1024 ** 2 })
  bus = await connect({ servers: server.url })
})
afterEach(async () => {
  await bus.close()
  await server.stop()
  await rm(storeDir, { recursive: true, force: true })
})

async function start(limit: number): Promise<Running> {
  const loaded = await loadComposition(import.meta.dirname)
  return up(bus, loaded, {
    only: ['airports', 'rebooking', 'delays', 'feed'],
    config: { feed: { speed: 'max', limit } },
    log: createLogger(),
  })
}

const pidOf = (running: Running, unit: string) => running.status().find((status) => status.unit === unit)!.pid
const statOf = (running: Running, unit: string, key: string) =>
  running.status().find((status) => status.unit === unit)!.stats[key] ?? 0

/** Kills a unit's process −9 and waits until its runner has started it again. */
async function kill(running: Running, unit: string): Promise<void> {
  const pid = pidOf(running, unit)
  process.kill(pid, 'SIGKILL')
  await until(() => {
    const status = running.status().find((s) => s.unit === unit)!
    return status.state === 'ready' && status.pid !== 0 && status.pid !== pid
  }, 60_000) // its backoff is up to 5 s, and a busy machine takes its time to start a process
}

describe('the airline', () => {
  // all 3,000,000 of them: npm run test:chaos
  it('gives for the flights of January the windows that DuckDB gives', { timeout: 120_000 }, async () => {
    await using running = await start(300_000)
    await Promise.all([running.finished('feed'), running.finished('delays')])
    expect(await expectSameAsDuckDB(bus, 300_000)).toBe(42_997)
    // every badly delayed flight has been rebooked, each once
    await until(async () => (await streamInfo(bus, 'JOB_rebooking_rebook'))!.state.messages === 0, 60_000)
    expect((await streamInfo(bus, 'JOB_rebooking_rebook'))!.state.last_seq).toBe(1_409)
    await until(() => statOf(running, 'rebooking', 'jobsDone') === 1_409)
  })

  it('gives the same when delays and feed are killed -9 in the middle', { timeout: 120_000 }, async () => {
    const limit = 400_000
    await using running = await start(limit)
    for (const [share, unit] of [
      [0.1, 'delays'],
      [0.3, 'feed'],
      [0.5, 'delays'],
      [0.7, 'feed'],
      [0.8, 'delays'],
    ] as const) {
      await until(() => statOf(running, 'delays', 'position') >= limit * share, 60_000)
      await kill(running, unit)
    }
    await until(() => statOf(running, 'delays', 'ended') === 1, 60_000)
    await expectSameAsDuckDB(bus, limit)
    expect((await streamInfo(bus, 'EVT_flights_departed'))!.state.last_seq).toBe(limit + 1)
    expect(running.status().find(({ unit }) => unit === 'delays')!.restarts).toBe(3)
  })

  it('gives the same when the windows are paused and resumed by command', { timeout: 120_000 }, async () => {
    const limit = 150_000
    await using running = await start(limit)
    await using people = await fleet(bus)
    const say = (verb: 'pause' | 'resume') => command(bus, people, { verb, selector: { unit: 'delays' }, by: 'test' })
    for (const share of [0.2, 0.5]) {
      await until(() => statOf(running, 'delays', 'position') >= limit * share, 60_000)
      expect((await say('pause')).acks.map(({ to }) => to)).toEqual(['paused'])
      const before = (await streamInfo(bus, 'EVT_flights_departed'))!.state.last_seq
      // the feed goes on without them, and keeps what they have to read
      await until(async () => {
        const { last_seq } = (await streamInfo(bus, 'EVT_flights_departed'))!.state
        return last_seq > before || last_seq > limit
      })
      expect((await say('resume')).ok).toBe(true)
    }
    await until(() => statOf(running, 'delays', 'ended') === 1, 60_000)
    await expectSameAsDuckDB(bus, limit)
  })

  it('gives the same when the server is killed -9 in the middle', { timeout: 120_000 }, async () => {
    const limit = 200_000
    await using running = await start(limit)
    for (const share of [0.2, 0.6]) {
      await until(() => statOf(running, 'delays', 'position') >= limit * share, 60_000)
      const restarts = server.restarts
      process.kill(server.pid, 'SIGKILL')
      await until(() => server.restarts > restarts)
    }
    await until(() => statOf(running, 'delays', 'ended') === 1, 60_000)
    await expectSameAsDuckDB(bus, limit)
  })

  it('goes on where it stopped after a clean end', { timeout: 60_000 }, async () => {
    const limit = 60_000
    {
      await using running = await start(limit)
      await until(() => statOf(running, 'delays', 'position') >= 10_000, 30_000)
    }
    const position = (await streamInfo(bus, 'EVT_flights_departed'))!.state.last_seq
    {
      await using running = await start(limit)
      await until(() => statOf(running, 'delays', 'ended') === 1, 30_000)
      expect(statOf(running, 'feed', 'sent')).toBeLessThanOrEqual(limit - Math.min(position, limit))
    }
    await expectSameAsDuckDB(bus, limit)
  })
})
