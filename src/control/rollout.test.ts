import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { connect, embeddedNats, Lease } from '../bus/internal.ts'
import { type Fleet, fleet, fleetEvents } from '../heartbeat/index.ts'
import { parseComposition, type Running, up } from '../runtime/index.ts'
import { client } from '../service/index.ts'
import { createLogger } from '../unit/internal.ts'
import { audit, command, DesiredStates, type Rollout, Rollouts, stand } from './index.ts'
import { shareOf } from './share.ts'

const nats = withNats()
const log = createLogger()
let watching: Fleet
let rollouts: Rollouts
let units = 0
beforeAll(async () => {
  watching = await fleet(nats.bus)
  rollouts = await Rollouts.open(nats.bus)
})
afterAll(() => watching.close())

async function started(replicas: number, more: object = {}): Promise<{ unit: string; running: Running }> {
  units += 1
  const unit = `r${units}`
  const config = { subject: unit }
  const composition = parseComposition(
    { name: 't', units: { [unit]: { use: './units/counter.ts', config, replicas, ...more } } },
    't',
  )
  const folder = join(import.meta.dirname, '../../test/fixtures')
  const running = await up(nats.bus, { composition, file: 't', folder }, { log, beatMs: 100 })
  await watching.until({ unit }, (members) => members.length === replicas)
  return { unit, running }
}
/** A runner in a process of its own, to be killed. */
async function runnerOf(replicas: number, isolation = 'none') {
  units += 1
  const unit = `r${units}`
  const args = [nats.server.url, unit, String(replicas), isolation]
  const runner = fork(join(import.meta.dirname, '../../test/fixtures/host.ts'), args, {
    execArgv: ['--conditions=myelin-source'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  await once(runner, 'message')
  await watching.until({ unit }, (members) => members.length === replicas)
  return { unit, runner }
}
const ended = async (id: string): Promise<Rollout> => {
  await until(async () => !['running', 'paused'].includes((await rollouts.get(id))!.phase), 30_000)
  return (await rollouts.get(id))!
}

describe('leases', () => {
  const leading = async (holder: string, name: string, reported: string[]) =>
    Lease.stand(await nats.connect(), {
      name,
      holder,
      termMs: 300,
      onLead: (token, signal) => {
        reported.push(`${holder} ${token}`)
        signal.addEventListener('abort', () => reported.push(`${holder} lost`))
      },
    })

  it('have one holder, are passed on at once when given back, and tokens only grow', async () => {
    const reported: string[] = []
    const first = await leading('a', 'one', reported)
    const second = await leading('b', 'one', reported)
    await new Promise((resolve) => setTimeout(resolve, 900)) // three terms
    expect([first.token === undefined, second.token === undefined]).toEqual([false, true])
    await first.stop()
    await until(() => second.token !== undefined)
    const tokens = reported.filter((line) => /\d$/.test(line)).map((line) => Number(line.split(' ')[1]))
    expect(tokens[1]).toBeGreaterThan(tokens[0]!)
    await second.stop()
  })

  it('are lost before somebody else can take over, when the holder is cut off', async () => {
    const reported: string[] = []
    const bus = await nats.connect()
    const first = await Lease.stand(bus, {
      name: 'two',
      holder: 'a',
      termMs: 300,
      onLead: (_token, signal) => signal.addEventListener('abort', () => reported.push('a lost')),
    })
    await bus.nats.close()
    const second = await leading('b', 'two', reported)
    await until(() => second.token !== undefined)
    expect(reported[0]).toBe('a lost')
    await first.stop()
    await second.stop()
  })
})

describe('leases of a process that was stopped for a while', () => {
  it('are known to be over at the first look, before any timer has fired', async () => {
    const lease = await Lease.stand(await nats.connect(), {
      name: 'stopped',
      holder: 'a',
      termMs: 300,
      onLead: () => undefined,
    })
    expect(lease.token).toBeDefined()
    const end = performance.now() + 300
    while (performance.now() < end);
    expect(lease.token).toBeUndefined()
    await lease.stop()
  })
})

describe('leases of a holder that hangs', () => {
  it('are lost in time though the server says nothing', async () => {
    const server = await embeddedNats()
    const bus = await connect({ servers: server.url })
    const lease = await Lease.stand(bus, { name: 'l', holder: 'a', termMs: 400, onLead: () => undefined })
    expect(lease.token).toBeDefined()
    process.kill(server.pid, 'SIGSTOP')
    await until(() => lease.token === undefined, 800)
    process.kill(server.pid, 'SIGCONT')
    await until(() => lease.token !== undefined)
    await lease.stop()
    await bus.close()
    await server.stop()
  })
})

describe('rollouts', () => {
  it('go through in batches and hold for those who come later', async () => {
    const { unit, running } = await started(4)
    const controller = await stand(nats.bus, 'c', log)
    const notes = new Set<string>()
    const stop = await rollouts.watch((rollout) => void (rollout.spec.unit === unit && notes.add(rollout.note)))
    const { id } = await rollouts.start(watching, {
      unit,
      config: { subject: `${unit}.new` },
      batchPercent: 50,
      bakeMs: 300,
    })
    expect(await codeOf(rollouts.start(watching, { unit, config: {} }))).toBe('ILLEGAL_TRANSITION')
    expect(await ended(id)).toMatchObject({ phase: 'done', total: 4, note: 'all 4 instances' })
    expect([...notes].filter((note) => note.startsWith('configuring')).length).toBe(2)
    expect((await (await DesiredStates.open(nats.bus)).get('local', unit))!.desired.config).toEqual({
      subject: `${unit}.new`,
    })
    nats.bus.publish(`${unit}.new`, new Uint8Array(0))
    await until(() => running.status().every(({ stats }) => stats.counted === 1))
    expect((await audit(nats.bus)).at(-1)).toMatchObject({ verb: 'rollout', outcome: 'done' })
    stop()
    await controller.stop()
    await running.drain()
  })

  it.each([
    ['that does not start', { failAtStart: true }, 'no'],
    ['that makes a check fail', { unhealthy: true }, 'check fine failed: told to be unwell'],
    ['that makes it fail more often', { erring: true }, 'the new ones fail at'],
    ['that makes it slower', { slow: true }, 'the new ones take 90.0 ms for a piece of work, the old ones 10.0 ms'],
    ['that does not fit', { subject: 7 }, 'config.subject'],
  ])('go back from a configuration %s', async (_what, config, why) => {
    const { unit, running } = await started(2)
    const controller = await stand(nats.bus, 'c', log)
    const { id } = await rollouts.start(watching, { unit, config, batchPercent: 50, bakeMs: 3_000 })
    const over = await ended(id)
    expect(over.phase).toBe('rolled-back')
    expect(over.note).toContain(why)
    await until(() => running.status().every(({ state }) => state === 'ready'))
    await watching.until({ unit }, (members) =>
      members.every(({ beat }) => beat.checks.every(({ status }) => status === 'ok')),
    )
    expect(await (await DesiredStates.open(nats.bus)).get('local', unit)).toBeUndefined()
    await controller.stop()
    await running.drain()
  })

  it('wait when paused, go on when resumed, and go back when aborted', async () => {
    const { unit, running } = await started(3)
    const controller = await stand(nats.bus, 'c', log)
    const { id } = await rollouts.start(watching, { unit, config: { subject: 'x' }, batchPercent: 34, bakeMs: 200 })
    await until(async () => (await rollouts.get(id))!.updated.length === 1)
    await rollouts.steer(id, 'paused')
    await until(async () => (await rollouts.get(id))!.phase === 'paused')
    await rollouts.steer(id, 'aborted')
    expect(await ended(id)).toMatchObject({ phase: 'rolled-back', note: 'aborted by command' })
    expect(await codeOf(rollouts.steer(id, 'paused'))).toBe('ILLEGAL_TRANSITION')
    expect(await codeOf(rollouts.steer('nothing', 'paused'))).toBe('NO_MATCH')
    await controller.stop()
    await running.drain()
  })

  it('take shares rounded down, at least one', () => {
    const shares = [
      [10, 25],
      [3, 1],
      [7, 100],
      [100, 29],
      [100, 7],
      [4, 34],
    ] as const
    expect(shares.map(([count, percent]) => shareOf(count, percent))).toEqual([2, 1, 7, 29, 7, 1])
  })

  it('of one unit at once are refused but one', async () => {
    const { unit, running } = await started(1)
    for (let i = 0; i < 5; i++) {
      const begun = await Promise.allSettled(
        Array.from({ length: 3 }, (_, k) => rollouts.start(watching, { unit, config: { subject: `x${k}` } })),
      )
      const [one, ...others] = begun.filter((result) => result.status === 'fulfilled')
      expect(others).toEqual([])
      const refused = begun.filter((result) => result.status === 'rejected')
      expect(refused.map(({ reason }) => reason.code)).toEqual(['ILLEGAL_TRANSITION', 'ILLEGAL_TRANSITION'])
      const taken = (await rollouts.take(one!.value.id))!
      await rollouts.save({ ...taken.rollout, phase: 'failed' }, taken.revision)
    }
    expect((await rollouts.list()).filter(({ spec }) => spec.unit === unit).length).toBe(5)
    await running.drain()
  })

  it('whose runner dies in the second batch are not done', async () => {
    const { unit, runner } = await runnerOf(2)
    const controller = await stand(nats.bus, 'c', log)
    const config = { subject: `${unit}.new` }
    const { id } = await rollouts.start(watching, { unit, config, batchPercent: 50, bakeMs: 2_000 })
    await until(async () => (await rollouts.get(id))!.updated.length === 2, 30_000)
    runner.kill('SIGKILL')
    const over = await ended(id)
    expect(over.phase).toBe('rolled-back')
    expect(over.note).toMatch(/ is dead| died|did not answer/)
    expect(await (await DesiredStates.open(nats.bus)).get('local', unit)).toBeUndefined()
    await controller.stop()
  })

  it('take no copy whose runner died for one that said goodbye', async () => {
    const { unit, runner } = await runnerOf(1, 'process')
    const changes: string[] = []
    const stop = watching.on(({ transition, member }) => void (member.beat.unit === unit && changes.push(transition)))
    runner.kill('SIGKILL')
    await until(() => changes.at(-1) === 'dead', 20_000)
    expect(changes).not.toContain('left')
    stop()
  })

  it('whose unit is scaled to nothing meanwhile end as failed, and their configuration is in force nowhere', async () => {
    const { unit, running } = await started(2)
    const controller = await stand(nats.bus, 'c', log)
    const { id } = await rollouts.start(watching, { unit, config: { subject: 'x' }, batchPercent: 50, bakeMs: 1_000 })
    await until(async () => (await rollouts.get(id))!.updated.length === 1)
    const emptied = { verb: 'scale', selector: { unit }, args: { replicas: 0 }, by: 'test' } as const
    expect((await command(nats.bus, watching, emptied)).ok).toBe(true)
    expect(await ended(id)).toMatchObject({ phase: 'failed', note: expect.stringContaining('no instance of unit') })
    const { desired } = (await (await DesiredStates.open(nats.bus)).get('local', unit))!
    expect(desired).toMatchObject({ replicas: 0 })
    expect(desired.config).toBeUndefined()
    await controller.stop()
    await running.drain()
  })

  it('keep what is configured at each site', async () => {
    units += 1
    const unit = `r${units}`
    const units_ = { [unit]: { use: './units/counter.ts', config: { subject: unit } } }
    const composition = parseComposition({ name: 't', sites: { a: {}, b: {} }, units: units_ }, 't')
    const folder = join(import.meta.dirname, '../../test/fixtures')
    const at = (site: string) => up(nats.bus, { composition, file: 't', folder }, { log, beatMs: 100, site })
    const [a, b] = [await at('a'), await at('b')]
    await watching.until({ unit }, (members) => members.length === 2)
    const desired = await DesiredStates.open(nats.bus)
    await desired.patch('a', unit, { config: { subject: `${unit}.a` } }, 'test')
    await desired.patch('b', unit, { config: { subject: `${unit}.b`, slow: true } }, 'test')
    await watching.until({ unit }, (members) => members.every(({ beat }) => beat.revision > 0))
    const controller = await stand(nats.bus, 'c', log)
    const { id } = await rollouts.start(watching, { unit, config: { startMs: 1 }, batchPercent: 50, bakeMs: 100 })
    const counted = () => [a, b].map((running) => running.status()[0]!.stats.counted)
    expect((await ended(id)).phase).toBe('done')
    expect((await desired.get('a', unit))!.desired.config).toEqual({ subject: `${unit}.a`, startMs: 1 })
    expect((await desired.get('b', unit))!.desired.config).toEqual({ subject: `${unit}.b`, slow: true, startMs: 1 })
    await until(() => [a, b].every((running) => running.status()[0]!.state === 'ready'))
    nats.bus.publish(`${unit}.a`, new Uint8Array(0))
    await until(() => counted()[0] === 1)
    const back = await rollouts.start(watching, { unit, config: { failAtStart: true }, batchPercent: 50, bakeMs: 100 })
    expect((await ended(back.id)).phase).toBe('rolled-back')
    await until(() => [a, b].every((running) => running.status()[0]!.state === 'ready'))
    nats.bus.publish(`${unit}.b`, new Uint8Array(0))
    await until(() => counted()[1] === 1)
    await controller.stop()
    await a.drain()
    await b.drain()
  })

  it('are gone on with by another controller when the leader is killed -9', async () => {
    const { unit, running } = await started(4)
    const leader = fork(join(import.meta.dirname, '../../test/fixtures/leading.ts'), [nats.server.url], {
      execArgv: ['--conditions=myelin-source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    await once(leader, 'message')
    const standby = await stand(nats.bus, 'standby', log)
    expect(standby.leads).toBe(false)
    const { id } = await rollouts.start(watching, { unit, config: { subject: 'x' }, batchPercent: 25, bakeMs: 300 })
    await until(async () => (await rollouts.get(id))!.updated.length === 2, 20_000)
    leader.kill('SIGKILL')
    const killedAt = performance.now()
    await until(() => standby.leads)
    // reported, never decisive: the goal is 3 s
    console.info(`a killed controller was replaced after ${Math.round(performance.now() - killedAt)} ms`)
    expect(await ended(id)).toMatchObject({ phase: 'done', total: 4 })
    await standby.stop()
    await running.drain()
  })

  it('that were going back, or had a batch to watch, when their leader was killed are not taken for fine', async () => {
    const { unit, running } = await started(2)
    const first = running.status()[0]!.instance
    const begun = await rollouts.start(watching, {
      unit,
      config: { unhealthy: true },
      batchPercent: 100,
      bakeMs: 1_000,
    })
    const { rollout, revision } = (await rollouts.take(begun.id))!
    const all = running.status().map(({ instance }) => instance)
    // a leader wrote this down and was killed; another one that slept cannot write any more
    await rollouts.save({ ...rollout, updated: all, pending: all }, revision)
    await expect(rollouts.save({ ...rollout, phase: 'done' }, revision)).rejects.toThrow('wrong last sequence')
    const controller = await stand(nats.bus, 'c', log)
    expect(await ended(begun.id)).toMatchObject({ phase: 'rolled-back' })
    await controller.stop()

    const again = await rollouts.start(watching, { unit, config: { subject: 'x' }, bakeMs: 100 })
    const taken = (await rollouts.take(again.id))!
    await rollouts.save({ ...taken.rollout, updated: [first], pending: [first], back: 'worse' }, taken.revision)
    const next = await stand(nats.bus, 'c', log)
    expect(await ended(again.id)).toMatchObject({ phase: 'rolled-back', note: 'worse' })
    await next.stop()
    await running.drain()
  })

  it('go back from a configuration that kills its process, on the dead one too', async () => {
    const { unit, running } = await started(2, { isolation: 'process' })
    const controller = await stand(nats.bus, 'c', log)
    const config = { throwAfterMs: 1_000 }
    const { id } = await rollouts.start(watching, { unit, config, batchPercent: 50, bakeMs: 8_000 })
    expect((await ended(id)).phase).toBe('rolled-back')
    await until(() => running.status().every(({ state }) => state === 'ready'))
    const restarts = running.status().map((s) => s.restarts)
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    expect(running.status().map((s) => s.restarts)).toEqual(restarts)
    await controller.stop()
    await running.drain()
  })

  it('tell what happened in the fleet while nobody led', async () => {
    const leader = await Lease.stand(nats.bus, { name: 'controller', holder: 'mute', onLead: () => undefined })
    const standby = await stand(nats.bus, 'standby', log)
    const { unit, running } = await started(1)
    await running.drain()
    await watching.until({ unit }, ([one]) => one?.status === 'left')
    const listening = client(nats.bus, fleetEvents).left.subscribe()
    await listening.ready()
    await leader.stop()
    for await (const { payload } of listening) if (payload.unit === unit) break
    await standby.stop()
  })

  it('tell what happens in the fleet as events', async () => {
    const controller = await stand(nats.bus, 'c', log)
    const listening = client(nats.bus, fleetEvents).left.subscribe()
    await listening.ready()
    const { unit, running } = await started(1)
    await running.drain()
    for await (const { payload } of listening) if (payload.unit === unit) break
    await controller.stop()
  })
})
