import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { connect, embeddedNats, removeStream, streamInfo } from '../bus/internal.ts'
import { client } from '../service/index.ts'
import type { Logger } from '../unit/internal.ts'
import {
  announceFleet,
  type Beat,
  beatSubject,
  Checks,
  conditionOf,
  diskCheck,
  type Fleet,
  fleet,
  fleetEvents,
  lagCheck,
  natsCheck,
  PhiDetector,
  Pulse,
  parseSelector,
  pingCheck,
} from './index.ts'

const nats = withNats()

/** A process that beats and can be killed; it tells its pid. */
async function beating(unit: string, intervalMs: number, mode = 'quiet', url = nats.server.url) {
  const child = fork(
    join(import.meta.dirname, '../../test/fixtures/beating.ts'),
    [url, unit, String(intervalMs), mode],
    {
      execArgv: ['--conditions=myelin-source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  await once(child, 'message')
  return child
}

const source = (unit: string, instance: string, state: () => Beat['state'] = () => 'ready') => ({
  unit,
  instance,
  kind: () => 'test',
  version: '1.0.0',
  tags: ['canary'],
  startedAt: Date.now(),
  state,
  revision: () => 0,
  checks: () => [],
  vitals: () => ({ handled: 1 }),
})

const changesOf = (watching: Fleet) => {
  const changes: string[] = []
  watching.on(({ transition, member }) => changes.push(`${member.beat.unit} ${transition}`))
  return changes
}
const statusOf = (watching: Fleet, unit: string) => watching.list({ unit })[0]?.status

describe('failure detector', () => {
  it('tells death between two and three and a half beats after the last one', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 850, max: 1_050 }), { maxLength: 200 }), (intervals) => {
        let now = 0
        const detector = new PhiDetector(now, 1_000)
        for (const interval of intervals) {
          now += interval
          expect(detector.suspicion(now)).not.toBe('dead')
          detector.beat(now, 1_000)
        }
        expect(detector.suspicion(now + 1_050)).toBe('alive')
        expect(detector.suspicion(now + 2_000)).not.toBe('dead')
        expect(detector.suspicion(now + 3_500)).toBe('dead')
      }),
    )
  })

  it('does not take beats for dead that are up to 0.8 s late', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 800 }), { minLength: 1, maxLength: 100 }), (delays) => {
        const detector = new PhiDetector(0, 1_000)
        delays.forEach((delay, i) => {
          const now = (i + 1) * 1_000 + delay
          expect(detector.suspicion(now)).not.toBe('dead')
          detector.beat(now, 1_000)
        })
      }),
    )
  })

  it('grows with silence', () => {
    const detector = new PhiDetector(0, 1_000)
    let last = -1
    for (let now = 0; now < 5_000; now += 50) {
      expect(detector.phi(now)).toBeGreaterThanOrEqual(last)
      last = detector.phi(now)
    }
  })
})

describe('fleet', () => {
  it('sees who comes, how they are, and who leaves', async () => {
    await using watching = await fleet(nats.bus, { unit: 'coming' })
    const changes = changesOf(watching)
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'here', intervalMs: 100 })
    let state: Beat['state'] = 'ready'
    pulse.add(source('coming', 'one', () => state))
    await until(() => changes.includes('coming joined'))
    const [member] = watching.list()
    expect(member!.beat).toMatchObject({
      site: 'here',
      unit: 'coming',
      instance: 'one',
      state: 'ready',
      nextMs: 100,
      pid: process.pid,
    })
    expect(member!.beat.vitals.rssBytes).toBeGreaterThan(1e6)
    state = 'paused'
    await until(() => watching.list()[0]!.beat.state === 'paused')
    expect(conditionOf(watching.list()[0]!)).toBe('paused')
    expect(watching.choose({ unit: 'coming' })).toBeUndefined()
    state = 'ready'
    await until(() => watching.choose({ unit: 'coming', tag: 'can*' })?.beat.instance === 'one')
    expect(watching.list({ tag: 'blue' })).toEqual([])
    pulse.add(source('other', 'two'))
    pulse.remove('one')
    await until(() => changes.includes('coming left'))
    await pulse.stop()
    expect(changes).toEqual(['coming joined', 'coming left'])
  })

  it('shows those who come late everybody at once', async () => {
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'here', intervalMs: 5_000 })
    for (let i = 0; i < 50; i++) pulse.add(source('many', `m${i}`))
    await using first = await fleet(nats.bus, { unit: 'many' })
    await first.until({}, (members) => members.length === 50)
    await using late = await fleet(await nats.connect(), { unit: 'many' })
    expect(late.list().length).toBe(50)
    await using none = await fleet(nats.bus, { unit: 'nobody' })
    expect(none.list()).toEqual([])
    expect(await codeOf(none.until({}, (members) => members.length > 0, 50))).toBe('DEADLINE_EXCEEDED')
    await pulse.stop()
  })

  it('tells suspicion and death of a process that is killed -9, and its return', async () => {
    await using watching = await fleet(nats.bus, { unit: 'killed' })
    const changes = changesOf(watching)
    const child = await beating('killed', 200)
    await until(() => statusOf(watching, 'killed') === 'alive')
    child.kill('SIGKILL')
    await until(() => changes.includes('killed dead'))
    expect(changes).toEqual(['killed joined', 'killed suspect', 'killed dead'])
    const again = await beating('killed', 200)
    await until(() => changes.includes('killed back'))
    again.kill('SIGTERM')
    await until(() => changes.at(-1) === 'killed left')
  })

  it('tells a process that began anew before anybody missed it', async () => {
    await using watching = await fleet(nats.bus, { unit: 'quick' })
    const changes = changesOf(watching)
    const known = { kind: 'test', version: '1.0.0', revision: 0, checks: [], vitals: {} }
    const said = { ...known, site: 's', unit: 'quick', instance: 'q', state: 'ready', nextMs: 1_000 }
    for (const [startedAt, seq] of [
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ])
      nats.bus.publish(beatSubject('s', 'quick', 'q'), Buffer.from(JSON.stringify({ ...said, startedAt, seq })))
    await until(() => watching.list()[0]?.beat.seq === 2 && watching.list()[0]?.beat.startedAt === 2)
    expect(changes).toEqual(['quick joined', 'quick restarted'])
  })

  const foreign = (unit: string) => {
    const known = { kind: 'test', version: '1.0.0', revision: 0, startedAt: 2_000, checks: [], vitals: {} }
    const said = { ...known, site: 's', unit, instance: 'i', state: 'ready', seq: 1, nextMs: 200 }
    return (more: object) => {
      const beat = { ...said, ...more }
      nats.bus.publish(beatSubject('s', unit, beat.instance), Buffer.from(JSON.stringify(beat)))
      return nats.bus.flush()
    }
  }

  it('goes by who beats and how far, not by clocks: one that began anew with its clock set back is alive', async () => {
    await using watching = await fleet(nats.bus, { unit: 'anew' })
    const changes = changesOf(watching)
    const beat = foreign('anew')
    await beat({ startedAt: 2_000, seq: 7 })
    await until(() => statusOf(watching, 'anew') === 'alive')
    await beat({ startedAt: 1_000, seq: 1 })
    await until(() => watching.list()[0]?.beat.startedAt === 1_000)
    await beat({ startedAt: 2_000, seq: 6 }) // of the run before
    await beat({ startedAt: 1_000, seq: 2, incarnation: 'a' })
    await beat({ startedAt: 1_000, seq: 1, incarnation: 'b' })
    await beat({ startedAt: 1_000, seq: 3, incarnation: 'a' })
    await until(() => watching.list()[0]?.beat.incarnation === 'b')
    expect(watching.list()[0]?.beat).toMatchObject({ seq: 1, startedAt: 1_000 })
    expect(changes).toEqual(['anew joined', 'anew restarted'])
  })

  it('is not told of a return by beats that come late', async () => {
    await using watching = await fleet(nats.bus, { unit: 'gone' })
    const changes = changesOf(watching)
    const beat = foreign('gone')
    await beat({ incarnation: 'first', seq: 9 })
    await beat({ incarnation: 'second', seq: 4 })
    await beat({ incarnation: 'second', seq: 5, state: 'left' })
    await beat({ incarnation: 'second', seq: 3 })
    await beat({ incarnation: 'first', seq: 8, startedAt: 9_000 })
    await beat({ incarnation: 'second', seq: 5 })
    await until(() => statusOf(watching, 'gone') === 'left')
    await nats.bus.flush()
    expect(changes).toEqual(['gone joined', 'gone left'])
    await beat({ incarnation: 'third', seq: 1 })
    await until(() => statusOf(watching, 'gone') === 'alive')
  })

  it('sees one alive that goes on after another of the same name is dead', async () => {
    await using watching = await fleet(nats.bus, { unit: 'twins' })
    const beat = foreign('twins')
    await beat({ incarnation: 'a', seq: 1 })
    await beat({ incarnation: 'b', seq: 1 })
    await until(() => statusOf(watching, 'twins') === 'dead')
    await beat({ incarnation: 'a', seq: 2 })
    await until(() => statusOf(watching, 'twins') === 'alive')
  })

  it('takes nobody for dead whose clock is set back', async () => {
    const worker = new Worker(new URL('../../test/fixtures/beating-clock.mjs', import.meta.url), {
      execArgv: ['--conditions=myelin-source'],
      workerData: {
        connect: { servers: nats.server.url },
        site: 's',
        intervalMs: 100,
        snapshotMs: 20,
        host: 'h',
        connection: 'c',
      },
    })
    await once(worker, 'message')
    await using watching = await fleet(nats.bus, { unit: 'turned' })
    const changes = changesOf(watching)
    const snapshot = { ...source('turned', 'i'), kind: 'k', state: 'ready', revision: 0, checks: [], vitals: {} }
    const telling = setInterval(() => worker.postMessage({ type: 'snapshots', snapshots: [snapshot] }), 20)
    await until(() => (watching.list()[0]?.beat.seq ?? 0) > 5)
    await until(() => watching.list()[0]!.beat.at < Date.now() - 30_000)
    const { seq } = watching.list()[0]!.beat
    await until(() => watching.list()[0]!.beat.seq > seq + 10)
    clearInterval(telling)
    await worker.terminate()
    // a busy machine may hold up beats for a moment; a clock never makes a death of it
    expect(changes.filter((change) => change !== 'turned suspect' && change !== 'turned back')).toEqual([
      'turned joined',
    ])
  })

  it('takes what a beat from elsewhere has, and leaves out what is odd', async () => {
    await using watching = await fleet(nats.bus, { unit: 'elsewhere' })
    const beat = foreign('elsewhere')
    await beat({ instance: 'none', vitals: {} })
    await beat({ instance: 'null', vitals: { lag: null, rate: 3 } }) // JSON's NaN
    await beat({ instance: 'text', vitals: { lag: 'much' }, tags: ['fine', { toString: 1 }], host: { toString: 1 } })
    await beat({ instance: 'check', checks: [{ name: 'c', status: 'failed', reason: { toString: 1 } }] })
    const text = JSON.stringify({ ...source('elsewhere', 'far'), ...{ site: 's', kind: 'k', state: 'ready' } })
    const far = text.replace(/}$/, ',"revision":0,"seq":1,"nextMs":1e300,"checks":[],"vitals":{"lag":1e999}}')
    nats.bus.publish(beatSubject('s', 'elsewhere', 'far'), Buffer.from(far))
    await until(() => watching.list().length === 5)
    const vitals = Object.fromEntries(watching.list().map((one) => [one.beat.instance, one.beat.vitals]))
    expect(vitals).toEqual({ none: {}, null: { rate: 3 }, text: {}, check: {}, far: {} })
    expect(watching.list({ host: '*', tag: 'fine' }).map((one) => one.beat.instance)).toEqual(['text'])
    expect(watching.list({ instance: 'far' })[0]!.beat.nextMs).toBe(3_600_000)
    await beat({ instance: 'huge', kind: 'x'.repeat(70_000) })
    await until(() => watching.malformed === 1)
  })

  it('is told of an instance whose checks and tags would not fit into a message', async () => {
    await using server = await embeddedNats({ extraConfig: 'max_payload: 1KB' })
    await using bus = await connect({ servers: server.url })
    await using watching = await fleet(bus)
    const pulse = await Pulse.start({ connect: { servers: server.url }, site: 'here', intervalMs: 100 })
    const check = (name: string, status: 'ok' | 'failed') => ({
      name,
      kind: 'readiness' as const,
      status,
      reason: 'because '.repeat(1_000),
      since: 0,
    })
    pulse.add({ ...source('wordy', 'w'), checks: () => [check('fine', 'ok'), check('bad', 'failed')] })
    pulse.add({ ...source('many', 'm'), tags: Array.from({ length: 500 }, (_, i) => `tag${i}`) })
    await until(() => watching.list().length === 2)
    const [many, wordy] = watching.list()
    expect(many!.beat).toMatchObject({ shortened: true, vitals: { handled: 1 } })
    expect(many!.beat.tags).toBeUndefined()
    expect(wordy!.beat.checks.map(({ name }) => name)).toContain('bad')
    await pulse.stop()
  })

  it('is told and begins again when its thread dies', async () => {
    await using watching = await fleet(nats.bus, { unit: 'beating' })
    const warnings: string[] = []
    const warned = ({ message }: Error) => void warnings.push(message)
    process.on('warning', warned)
    let thread: Worker | undefined
    process.once('worker', (worker) => {
      thread = worker
    })
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'here', intervalMs: 100 })
    pulse.add(source('beating', 'b'))
    await until(() => statusOf(watching, 'beating') === 'alive')
    const { incarnation } = watching.list()[0]!.beat
    await thread!.terminate()
    await until(() => watching.list()[0]!.beat.incarnation !== incarnation)
    await until(() => statusOf(watching, 'beating') === 'alive')
    expect(warnings.join()).toContain('the heartbeat of this process ended (exit code 1); it is started again')
    process.off('warning', warned)
    await pulse.stop()
    await until(() => statusOf(watching, 'beating') === 'left')
  })

  it('goes on though a unit cannot tell its numbers, or tells what is none', async () => {
    await using watching = await fleet(nats.bus, { unit: 'mute' })
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'here', intervalMs: 100 })
    let lag: unknown = 1
    const vitals = () => {
      if (lag === 'throw') throw new Error('no numbers')
      return { lag } as { lag: number }
    }
    pulse.add({ ...source('mute', 'm'), vitals })
    await until(() => statusOf(watching, 'mute') === 'alive')
    for (const odd of [Number.NaN, 1n, () => 1, 'throw']) {
      lag = odd
      const { seq } = watching.list()[0]!.beat
      await until(() => watching.list()[0]!.beat.seq > seq + 2)
    }
    expect(statusOf(watching, 'mute')).toBe('alive')
    await pulse.stop()
  })

  it('tells everybody though a listener throws or rejects', async () => {
    await using watching = await fleet(nats.bus, { unit: 'heard' })
    watching.on(() => {
      throw new Error('a listener throws')
    })
    watching.on((async () => {
      throw new Error('a listener rejects')
    }) as () => void)
    const changes = changesOf(watching)
    const before = nats.bus.failures
    await foreign('heard')({})
    await until(() => changes.length === 1)
    await until(() => nats.bus.failures === before + 2)
  })

  it('tells a stopped process for dead, and back when it goes on', async () => {
    await using watching = await fleet(nats.bus, { unit: 'stopped' })
    const changes = changesOf(watching)
    const child = await beating('stopped', 200)
    await until(() => statusOf(watching, 'stopped') === 'alive')
    child.kill('SIGSTOP')
    await until(() => changes.includes('stopped dead'))
    child.kill('SIGCONT')
    await until(() => changes.includes('stopped back'))
    child.kill('SIGKILL')
  })

  it('tells a blocked event loop for busy, not for dead', async () => {
    await using watching = await fleet(nats.bus, { unit: 'blocked' })
    const changes = changesOf(watching)
    const states: string[] = []
    let stall = 0
    nats.bus.subscribe('beat.*.blocked.*', (message) => {
      const beat = message.json<Beat>()
      states.push(beat.state)
      stall = Math.max(stall, beat.stallMs ?? 0)
    })
    // blocks its event loop for 0.8 s in each second
    const child = await beating('blocked', 200, 'block')
    await until(() => states.filter((state) => state === 'busy').length >= 6)
    child.kill('SIGKILL')
    expect(changes).toEqual(['blocked joined'])
    expect(stall).toBeGreaterThan(300)
  })

  it('does not take others for dead while it is stalled itself', async () => {
    await using watching = await fleet(nats.bus, { unit: 'fine' })
    const changes = changesOf(watching)
    const child = await beating('fine', 200)
    await until(() => statusOf(watching, 'fine') === 'alive')
    for (let i = 0; i < 4; i++) {
      const end = performance.now() + 800
      while (performance.now() < end);
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    child.kill('SIGKILL')
    expect(changes).toEqual(['fine joined'])
  })

  it('says that it is blind when its own connection is gone, and declares nobody dead', async () => {
    await using watching = await fleet(nats.bus, { unit: 'lasting' })
    const changes = changesOf(watching)
    const child = await beating('lasting', 500)
    await until(() => statusOf(watching, 'lasting') === 'alive')
    const restarts = nats.server.restarts
    process.kill(nats.server.pid, 'SIGKILL')
    await until(() => watching.blind)
    await until(() => nats.server.restarts > restarts && !watching.blind)
    const { seq } = watching.list()[0]!.beat
    await until(() => watching.list()[0]!.beat.seq > seq + 3)
    expect(changes).toEqual(['lasting joined'])
    // the snapshot was in the memory of the server that died; those who come late have one again
    await until(async () => {
      const info = await streamInfo(nats.bus, 'BEATS', { subjects: 'beat.*.lasting.*' })
      return Object.keys(info?.state.subjects ?? {}).length === 1
    })
    await using late = await fleet(nats.bus, { unit: 'lasting' })
    expect(late.list().length).toBe(1)
    child.kill('SIGKILL')
  })

  it('goes on when somebody removed the stream of last beats, which is made again for those who come late', async () => {
    await using watching = await fleet(nats.bus, { unit: 'kept' })
    const child = await beating('kept', 50)
    await until(() => statusOf(watching, 'kept') === 'alive')
    const changes = changesOf(watching)
    await removeStream(nats.bus, 'BEATS')
    await until(async () => {
      const info = await streamInfo(nats.bus, 'BEATS', { subjects: 'beat.*.kept.*' })
      return Object.keys(info?.state.subjects ?? {}).length === 1
    })
    await using late = await fleet(nats.bus, { unit: 'kept' })
    expect(late.list().length).toBe(1)
    expect([statusOf(watching, 'kept'), changes]).toEqual(['alive', []])
    child.kill('SIGKILL')
  })

  it("knows of a death at once with the server's own word for it", async () => {
    await using server = await embeddedNats({
      extraConfig: `accounts { SYS { users: [ { user: sys, password: sys } ] }, APP { jetstream: enabled, users: [ { user: app, password: app } ] } }
system_account: SYS`,
    })
    await using app = await connect({ servers: server.url, user: 'app', password: 'app' })
    await using system = await connect({ servers: server.url, user: 'sys', password: 'sys' })
    await using watching = await fleet(app)
    await watching.believeServer(system)
    const changes = changesOf(watching)
    // by silence alone a death would take minutes
    const url = new URL(server.url)
    const child = await beating('advised', 60_000, 'quiet', `nats://app:app@${url.host}`)
    await until(() => statusOf(watching, 'advised') === 'alive')
    child.kill('SIGKILL')
    await until(() => changes.includes('advised dead'))
    expect(changes).toEqual(['advised joined', 'advised dead'])
  })

  it('counts malformed beats, names their subject once, and ignores them', async () => {
    const named: string[] = []
    const log = { warn: (_fields: object, message: string) => named.push(message) } as unknown as Logger
    await using watching = await fleet(nats.bus, { unit: 'odd', log })
    for (const text of ['not json', '{}', '[]', 'null', '{"site":"x","unit":"odd","instance":"i","nextMs":-1}'])
      nats.bus.publish(beatSubject('x', 'odd', 'i'), Buffer.from(text))
    await until(() => watching.malformed === 5)
    const known = { kind: 'test', version: '1.0.0', revision: 0, startedAt: 0, checks: [], vitals: {} }
    const other = { ...known, site: 'x', unit: 'odd', instance: 'somebody-else', state: 'ready', seq: 1, nextMs: 100 }
    // what would end whoever looks at it
    for (const odd of [{ checks: [null] }, { tags: 'canary' }, { vitals: { rate: {} } }, { version: undefined }])
      nats.bus.publish(beatSubject('x', 'odd', 'i'), Buffer.from(JSON.stringify({ ...other, instance: 'i', ...odd })))
    await until(() => watching.malformed === 9)
    nats.bus.publish(beatSubject('x', 'odd', 'j'), Buffer.from(JSON.stringify(other)))
    await until(() => watching.malformed === 10)
    expect(watching.list()).toEqual([])
    expect(named).toEqual(
      ['i', 'j'].map((i) => `a beat on beat.x.odd.${i} cannot be read and is ignored; it is not named again`),
    )
  })

  it('keeps its memory bounded', async () => {
    await using watching = await fleet(nats.bus, { unit: 'swarm', maxMembers: 10 })
    const beat = (i: number) => ({
      site: 's',
      unit: 'swarm',
      instance: `i${i}`,
      kind: 'test',
      version: '1.0.0',
      state: 'ready',
      revision: 0,
      startedAt: 0,
      seq: 1,
      nextMs: 1_000,
      checks: [],
      vitals: {},
    })
    for (let i = 0; i < 100; i++)
      nats.bus.publish(beatSubject('s', 'swarm', `i${i}`), Buffer.from(JSON.stringify(beat(i))))
    await until(() => watching.list({ instance: 'i99' }).length === 1)
    expect(watching.list().length).toBe(10)
  })

  it('publishes what happens as events, each once however many watch', async () => {
    const events = client(nats.bus, fleetEvents)
    const seen: string[] = []
    const listening = events.joined.subscribe({ key: 'told' })
    await listening.ready()
    void (async () => {
      for await (const { payload } of listening) seen.push(payload.instance)
    })()
    await using one = await fleet(nats.bus, { unit: 'told' })
    await using two = await fleet(await nats.connect(), { unit: 'told' })
    const errors: unknown[] = []
    const stops = [one, two].map((watching) => announceFleet(nats.bus, watching, (error) => errors.push(error)))
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'here', intervalMs: 100 })
    pulse.add(source('told', 'a'))
    await until(() => seen.length > 0)
    pulse.add(source('told', 'b'))
    await until(() => seen.includes('b'))
    expect(seen).toEqual(['a', 'b'])
    expect(errors).toEqual([])
    for (const stop of stops) stop()
    await listening.close()
    await pulse.stop()
  })
})

describe('health checks', () => {
  it('answer within their time, remember since when, and tell apart what is worse', async () => {
    let broken = false
    const checks = new Checks({
      fine: { run: () => true },
      flips: { run: () => !broken || 'it broke', cacheMs: 0 },
      throws: { run: () => Promise.reject(new Error('no database')), kind: 'liveness' },
      hangs: { run: () => new Promise(() => undefined), timeoutMs: 30 },
      slow: { run: () => 'slower than it should be', degrades: true },
    })
    const first = await checks.refresh()
    const of = (name: string, results = first) => results.find((result) => result.name === name)
    expect(of('fine')).toMatchObject({ status: 'ok', kind: 'readiness' })
    expect(of('throws')).toMatchObject({ status: 'failed', kind: 'liveness', reason: 'no database' })
    expect(of('hangs')).toMatchObject({ status: 'failed', reason: 'no answer within 30 ms' })
    expect(of('slow')).toMatchObject({ status: 'degraded' })
    const since = of('fine')!.since
    broken = true
    const second = await checks.refresh()
    expect(of('flips', second)).toMatchObject({ status: 'failed', reason: 'it broke' })
    expect(of('fine', second)!.since).toBe(since)
  })

  it('that throw, hang or answer anything else end nothing, and are asked no more than three times at once', async () => {
    let asked = 0
    const checks = new Checks({
      throws: {
        run: () => {
          throw undefined
        },
      },
      bare: { run: () => Object.create(null) as never },
      message: { run: () => Promise.reject(Object.assign(new Error(), { message: 7 })) },
      absent: undefined as never,
      none: {} as never,
      never: { run: () => new Promise(() => (asked += 1)), timeoutMs: 5, cacheMs: 0 },
      odd: { run: () => true, timeoutMs: Number.NaN, cacheMs: Number.POSITIVE_INFINITY },
    })
    for (let i = 0; i < 10; i++) {
      checks.results()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const statuses = Object.fromEntries(checks.results().map(({ name, status }) => [name, status]))
    const failed = 'failed'
    expect(statuses).toEqual({
      throws: failed,
      bare: failed,
      message: failed,
      absent: failed,
      none: failed,
      never: failed,
      odd: 'ok',
    })
    expect(asked).toBeLessThanOrEqual(3)
  })

  it('ready-made ones for NATS, anything that answers, lag and disk', async () => {
    const checks = new Checks({
      nats: natsCheck(nats.bus),
      db: pingCheck('orders', () => Promise.reject(new Error('refused'))),
      lag: lagCheck(nats.bus, 'NONE', () => 0, 10),
      disk: diskCheck('/', 1),
      full: diskCheck('/', Number.MAX_SAFE_INTEGER),
    })
    const results = Object.fromEntries((await checks.refresh()).map(({ name, status }) => [name, status]))
    expect(results).toEqual({ nats: 'ok', db: 'failed', lag: 'degraded', disk: 'ok', full: 'failed' })
  })
})

describe('selectors', () => {
  it('are words of key=value, a word alone is a unit', () => {
    expect(parseSelector(['site=atl unit=delays', 'version=1.*'])).toEqual({
      site: 'atl',
      unit: 'delays',
      version: '1.*',
    })
    expect(parseSelector(['delays'])).toEqual({ unit: 'delays' })
    expect(() => parseSelector(['unt=delays'])).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
    expect(() => parseSelector(['unit='])).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })
})
