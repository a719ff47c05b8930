import { join } from 'node:path'
import { jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import {
  type Bus,
  bucketStream,
  connect,
  type EmbeddedNats,
  embeddedNats,
  Lease,
  nameOf,
  now,
  streamInfo,
} from '../bus/internal.ts'
import { type Fleet, fleet, type Member, Pulse } from '../heartbeat/index.ts'
import { parseComposition, type Running, type UpOptions, up } from '../runtime/index.ts'
import { client } from '../service/index.ts'
import { createLogger } from '../unit/internal.ts'
import {
  type Ack,
  audit,
  type CommandRequest,
  command,
  controlEvents,
  type DesiredEntry,
  DesiredStates,
  driftOf,
  type PermissionOptions,
  permissions,
  stand,
} from './index.ts'

const nats = withNats()
const folder = join(import.meta.dirname, '../../test/fixtures')
const log = createLogger()
let watching: Fleet
let units = 0
beforeAll(async () => {
  watching = await fleet(nats.bus)
})
afterAll(() => watching.close())

/** A composition with one unit of a name of its own; `start` starts its runner (again). */
function unitOf(more: object = {}) {
  units += 1
  const unit = `u${units}`
  const loaded = {
    composition: parseComposition(
      { name: 'test', units: { [unit]: { use: './units/counter.ts', config: { subject: unit }, ...more } } },
      'test',
    ),
    file: 'test',
    folder,
  }
  const start = async (options: UpOptions = {}) => {
    const running = await up(nats.bus, loaded, { log, beatMs: 100, ...options })
    const copies = running.status().filter(({ state }) => state !== 'stopped').length
    await watching.until({ unit }, (members) => members.filter(({ status }) => status === 'alive').length >= copies)
    return running
  }
  const say = (verb: CommandRequest['verb'], more: Partial<CommandRequest> = {}) =>
    command(nats.bus, watching, { verb, selector: { unit }, by: 'test', timeoutMs: 20_000, ...more })
  return { unit, start, say }
}

const states = (running: Running) => running.status().map(({ state }) => state)
const poke = async (subject: string) => {
  nats.bus.publish(subject, new Uint8Array(0))
  await nats.bus.flush()
}
const short = ({ acks }: { acks: readonly Ack[] }) =>
  acks.map(({ from, to, ok }) => `${from} → ${to}${ok ? '' : ' failed'}`)

describe('commands', () => {
  it('pause and resume, each instance answering with its state before and after', async () => {
    const { unit, start, say } = unitOf({ replicas: 2 })
    await using running = await start()
    const paused = await say('pause')
    expect(paused.ok).toBe(true)
    expect(short(paused)).toEqual(['ready → paused', 'ready → paused'])
    await watching.until({ unit }, (members) => members.every(({ beat }) => beat.state === 'paused'))
    expect(short(await say('pause'))).toEqual(['paused → paused', 'paused → paused'])
    expect(short(await say('resume'))).toEqual(['paused → ready', 'paused → ready'])
    await poke(unit)
    await until(() => running.status().every(({ stats }) => stats.counted === 1))
  })

  it('work the same for units in processes of their own', async () => {
    const { unit, start, say } = unitOf({ isolation: 'process' })
    await using running = await start()
    const { pid } = running.status()[0]!
    expect(short(await say('pause'))).toEqual(['ready → paused'])
    expect(() => process.kill(pid, 0)).toThrow()
    const [member] = await watching.until({ unit }, ([one]) => one?.beat.state === 'paused')
    expect(member!.status).toBe('alive')
    expect(short(await say('resume'))).toEqual(['paused → ready'])
    await watching.until({ unit }, ([one]) => one?.beat.state === 'ready' && one.beat.pid !== process.pid)
  })

  it('are seen by those who watched all the while, however often they are given', async () => {
    const { unit, start, say } = unitOf({ isolation: 'process' })
    await using _ = await start()
    const changes: string[] = []
    const stop = watching.on(({ transition, member }) => {
      if (member.beat.unit === unit) changes.push(`${transition} ${member.beat.state}`)
    })
    for (const verb of ['pause', 'resume', 'pause'] as const) {
      expect((await say(verb)).ok).toBe(true)
      const state = verb === 'pause' ? 'paused' : 'ready'
      await watching.until({ unit }, ([one]) => one?.beat.state === state && one.status === 'alive')
    }
    stop()
    expect(changes).not.toContain('restarted paused') // it is at rest, not anew
  })

  it('start again what did not drain and had to be killed, and say so', async () => {
    const { start, say } = unitOf({ isolation: 'process', config: { subject: 'x', hangInDrain: true } })
    await using running = await start({ drainMs: 200 })
    const restarted = await say('restart')
    expect(short(restarted)).toEqual(['ready → ready failed'])
    expect(restarted.acks[0]!.error!.message).toContain('had not drained after 0.2 s and was killed')
    expect(states(running)).toEqual(['ready'])
    const stopped = await say('stop')
    expect(stopped.ok).toBe(false)
    expect(stopped.acks[0]!.error!.message).toContain('had not drained')
  })

  it('reach what does not start, so that it can be mended', async () => {
    const { unit, start, say } = unitOf({ isolation: 'process' })
    await using running = await start()
    const config = { failAtStart: true }
    expect(short(await say('configure', { args: { config } }))).toEqual(['ready → failed failed'])
    await watching.until({ unit }, ([one]) => one?.status === 'alive' && one.beat.state === 'failed')
    const grown = await say('scale', { args: { replicas: 2 }, timeoutMs: 20_000 })
    expect(grown.ok).toBe(false)
    expect(short(grown)).toContain('none → failed failed')
    await watching.until({ unit }, (members) => members.length === 2)
    const mended = await say('configure', { args: { config: { failAtStart: false } }, timeoutMs: 20_000 })
    expect([short(mended), mended.missing]).toEqual([['failed → ready', 'failed → ready'], []])
    expect(states(running)).toEqual(['ready', 'ready'])
  })

  it('scale to nothing and back', async () => {
    const { unit, start, say } = unitOf()
    await using running = await start()
    expect((await say('scale', { args: { replicas: 0 } })).ok).toBe(true)
    await watching.until({ unit }, (members) => members.every(({ status }) => status === 'left'))
    expect(await codeOf(say('pause'))).toBe('NO_MATCH')
    expect((await say('scale', { args: { replicas: 2 } })).ok).toBe(true)
    expect(states(running)).toEqual(['ready', 'ready'])
  })

  it.each(['none', 'process'])('reach a unit at the site that its composition gives it (%s)', async (isolation) => {
    const unit = `atl-${isolation}`
    const config = { subject: unit }
    const composition = parseComposition(
      {
        name: 't',
        sites: { jfk: {}, atl: {} },
        units: { [unit]: { use: './units/counter.ts', config, site: 'atl', isolation: isolation as 'none' } },
      },
      't',
    )
    await using running = await up(nats.bus, { composition, file: 't', folder }, { log, beatMs: 100 })
    await watching.until({ unit, site: 'atl' }, ([one]) => one?.status === 'alive')
    const selector = { unit, site: 'atl' }
    const paused = await command(nats.bus, watching, { verb: 'pause', selector, by: 'test', timeoutMs: 5_000 })
    expect(paused.ok).toBe(true)
    expect(states(running)).toEqual(['paused'])
    await watching.until(selector, ([one]) => one?.beat.state === 'paused')
    expect(watching.list({ unit }).length).toBe(1)
  })

  it('stop, start, restart, scale and log level', async () => {
    const { unit, start, say } = unitOf()
    await using running = await start()
    expect(short(await say('stop'))).toEqual(['ready → stopped'])
    expect(short(await say('pause'))).toEqual(['stopped → stopped failed'])
    expect(short(await say('start'))).toEqual(['stopped → ready'])
    expect(short(await say('restart'))).toEqual(['ready → ready'])
    expect(running.status()[0]!.restarts).toBe(1)
    const grown = await say('scale', { args: { replicas: 3 } })
    expect(grown.ok).toBe(true)
    expect(states(running)).toEqual(['ready', 'ready', 'ready'])
    await watching.until({ unit }, (members) => members.filter(({ status }) => status === 'alive').length === 3)
    expect((await say('scale', { args: { replicas: 1 } })).ok).toBe(true)
    expect(states(running)).toEqual(['ready'])
    await watching.until({ unit }, (members) => members.filter(({ status }) => status === 'alive').length === 1)
    expect((await say('loglevel', { args: { level: 'debug' } })).ok).toBe(true)
  })

  it('configure: everyone runs the new one, and one that does not fit changes nothing anywhere', async () => {
    const { unit, start, say } = unitOf({ replicas: 2 })
    await using running = await start()
    const before = await DesiredStates.open(nats.bus)
    expect(await codeOf(say('configure', { args: { config: { subject: 7 } } }))).toBe('INVALID_CONFIG')
    expect(await before.get('local', unit)).toBeUndefined()
    expect(running.status().every(({ revision }) => revision === 0)).toBe(true)
    const done = await say('configure', { args: { config: { subject: `${unit}.other` } } })
    expect(short(done)).toEqual(['ready → ready', 'ready → ready'])
    await poke(`${unit}.other`)
    await until(() => running.status().every(({ stats }) => stats.counted === 1))
    await watching.until({ unit }, (members) => members.every(({ beat }) => beat.revision === done.acks[0]!.revision))
  })

  it('reach a share of the instances, or one', async () => {
    const { start, say } = unitOf({ replicas: 4 })
    await using running = await start()
    expect((await say('pause', { percent: 50 })).acks.length).toBe(2)
    expect(states(running).sort()).toEqual(['paused', 'paused', 'ready', 'ready'])
    const { instance } = running.status().find(({ state }) => state === 'ready')!
    expect((await say('pause', { selector: { instance } })).acks.map((ack) => ack.instance)).toEqual([instance])
    expect(states(running).filter((state) => state === 'paused').length).toBe(3)
    // what single instances were told lasts until the whole unit is told something else
    expect((await say('resume')).ok).toBe(true)
    expect(new Set(states(running))).toEqual(new Set(['ready']))
  })

  it('given twice are carried out once', async () => {
    const { start, say } = unitOf()
    await using running = await start()
    const first = await say('restart', { id: 'same' })
    const second = await say('restart', { id: 'same' })
    expect(second.acks).toEqual(first.acks)
    expect(running.status()[0]!.restarts).toBe(1)
  })

  it('that make no sense, come too late or from a fenced controller are refused', async () => {
    const { unit, start, say } = unitOf()
    await using running = await start()
    await expect(say('pause', { selector: { unit: 'nobody' } })).rejects.toThrow(
      'no instance fits unit=nobody; units that beat:',
    )
    expect(await codeOf(say('pause', { percent: 0 }))).toBe('INVALID_OPTION')
    // what changes no desired state cannot depend on its revision
    expect(await codeOf(say('pause', { percent: 50, expectedRevision: 1 }))).toBe('INVALID_OPTION')
    expect(await codeOf(say('restart', { expectedRevision: 1 }))).toBe('INVALID_OPTION')
    expect((await say('resume', { token: 7 })).ok).toBe(true)
    expect(await codeOf(say('pause', { token: 6 }))).toBe('FENCED')
    const { instance } = running.status()[0]!
    const raw = async (body: unknown) => {
      const reply = await nats.bus.request(`ctl.local.${unit}.${instance}.pause`, Buffer.from(JSON.stringify(body)))
      return (reply.json() as Ack).error?.code
    }
    expect(await raw({ id: 'replayed', by: 'x', at: Date.now() - 120_000 })).toBe('STALE_COMMAND')
    expect(await raw({ by: 'x' })).toBe('INVALID_INPUT')
    expect(await raw({ id: 'late', by: 'x', at: Date.now(), token: 6 })).toBe('FENCED')
    expect(states(running)).toEqual(['ready'])
  })

  it('are taken from the next leader and from no earlier one, also when the bucket of leases was removed', async () => {
    const { start, say } = unitOf()
    await using running = await start()
    const tokens: number[] = []
    const stand = async (holder: string) =>
      Lease.stand(await nats.connect(), {
        name: 'remade',
        holder,
        termMs: 500,
        onLead: (token) => tokens.push(token),
      })
    const first = await stand('a')
    expect((await say('resume', { token: tokens[0]! })).ok).toBe(true)
    const manager = await jetstreamManager(nats.bus.nats)
    await manager.streams.delete(bucketStream(nameOf('bucket', 'LEASES')))
    const second = await stand('b')
    await until(() => tokens.length >= 2) // the first may be the next as well
    const [former, latest] = [tokens[0]!, tokens.at(-1)!]
    expect(latest).toBeGreaterThan(former)
    expect(Number.isSafeInteger(latest)).toBe(true)
    expect((await say('resume', { token: latest })).ok).toBe(true)
    expect(await codeOf(say('pause', { token: former }))).toBe('FENCED')
    expect(states(running)).toEqual(['ready'])
    await first.stop()
    await second.stop()
  })

  it('that are refused change nothing, also not what should be', async () => {
    const { unit, start, say } = unitOf({ replicas: 2 })
    await using running = await start()
    const desired = await DesiredStates.open(nats.bus)
    // the clock of who commands is two minutes behind for as long as the command takes; that of the instances is right
    const real = Date.now
    Date.now = () => (new Error().stack!.includes('commands.ts') ? real() - 120_000 : real())
    const late = await say('pause').finally(() => {
      Date.now = real
    })
    expect(late.ok).toBe(false)
    expect(late.acks.map(({ error }) => error?.code)).toEqual(['STALE_COMMAND', 'STALE_COMMAND'])
    expect(await desired.get('local', unit)).toBeUndefined()
    expect((await say('stop')).ok).toBe(true)
    const { revision } = (await desired.get('local', unit))!
    expect(short(await say('pause'))).toEqual(['stopped → stopped failed', 'stopped → stopped failed'])
    expect((await desired.get('local', unit))!).toMatchObject({ revision, desired: { state: 'stopped' } })
    expect(states(running)).toEqual(['stopped', 'stopped'])
    expect((await audit(nats.bus)).at(-1)).toMatchObject({ outcome: 'failed', verb: 'pause' })
    // a controller that was followed by another one, which the instances know of
    expect((await say('start', { token: 9 })).ok).toBe(true)
    await desired.remove('local', unit)
    expect(await codeOf(say('pause', { token: 8 }))).toBe('FENCED')
    expect(await desired.get('local', unit)).toBeUndefined()
    // and one that would not fit into a message
    const config = { subject: 'x'.repeat(1_100_000) }
    expect(await codeOf(say('configure', { args: { config } }))).toBe('PAYLOAD_TOO_LARGE')
  })

  it('tell who did not obey', async () => {
    const { start, say } = unitOf({ isolation: 'process', config: { subject: 'x', hangInDrain: true } })
    await using _ = await start({ drainMs: 200 })
    const outcome = await say('pause')
    expect(outcome.ok).toBe(false)
    expect(outcome.acks[0]!.error!.message).toContain('had not drained after 0.2 s and was killed')
  })
})

describe('desired state', () => {
  it('is found by those who were away', async () => {
    const { unit, start, say } = unitOf()
    {
      await using _ = await start()
      await say('configure', { args: { config: { subject: `${unit}.new` } } })
      await say('scale', { args: { replicas: 2 } })
      await say('pause')
    }
    await using running = await start()
    expect(states(running)).toEqual(['paused', 'paused'])
    expect((await say('resume')).ok).toBe(true)
    await poke(`${unit}.new`)
    await until(() => running.status().every(({ stats }) => stats.counted === 1))
  })

  it('is followed without a command, and changed only by who knows what it was', async () => {
    const { unit, start, say } = unitOf()
    await using running = await start()
    const desired = await DesiredStates.open(nats.bus)
    const { revision } = await desired.patch('local', unit, { state: 'paused' }, 'somebody')
    await until(() => states(running)[0] === 'paused')
    expect(await codeOf(say('resume', { expectedRevision: revision - 1 }))).toBe('STALE_REVISION')
    expect((await say('resume', { expectedRevision: revision })).ok).toBe(true)
    // of many who change at once, nobody's change is lost
    const writers = Array.from({ length: 5 }, (_, i) =>
      desired.patch('local', unit, i === 0 ? { replicas: 2 } : { config: { subject: `s${i}` } }, `w${i}`),
    )
    await Promise.all(writers)
    expect((await desired.get('local', unit))!.desired).toMatchObject({
      replicas: 2,
      config: { subject: expect.any(String) },
    })
    await until(() => running.status().length === 2)
  })
})

describe('drift', () => {
  const beat = (state: string, revision: number, instance = 'i'): Member => ({
    status: 'alive',
    phi: 0,
    silentMs: 0,
    beat: { site: 's', unit: 'u', instance, state, revision } as Member['beat'],
  })
  const wanted = (desired: object): DesiredEntry[] => [
    { site: 's', unit: 'u', revision: 5, desired: { state: 'running', by: '', at: '', ...desired } },
  ]

  it('is what instances say against what should be', () => {
    expect(driftOf(wanted({}), [beat('ready', 5), beat('busy', 5)])).toEqual([])
    expect(driftOf(wanted({ replicas: 2 }), [])).toEqual([]) // nobody is there to be anything
    const drift = driftOf(wanted({ state: 'paused', replicas: 3 }), [beat('ready', 4, 'a'), beat('paused', 5, 'b')])
    expect(drift.map(({ what, wanted: want, found, instances }) => [what, want, found, instances.join()])).toEqual([
      ['replicas', '3', '2', 'a,b'],
      ['state', 'paused', 'ready', 'a'],
      ['revision', '5', '4', 'a'],
    ])
  })

  it('that lasts is told by the controller, and so is its end', async () => {
    // an instance that beats and never obeys
    const unit = 'deaf'
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 'local', intervalMs: 200 })
    let revision = 0
    pulse.add({
      unit,
      instance: 'd1',
      kind: () => 'test',
      version: '1.0.0',
      tags: [],
      startedAt: Date.now(),
      state: () => (revision > 0 ? 'paused' : 'ready'),
      revision: () => revision,
      checks: () => [],
      vitals: () => ({}),
    })
    const leader = await stand(nats.bus, 'c', log)
    await until(() => leader.leads)
    const reported: string[] = []
    const api = client(nats.bus, controlEvents)
    const stops = (['drifted', 'converged'] as const).map((event) => {
      const listening = api[event].subscribe({ key: unit })
      void (async () => {
        for await (const { payload } of listening) reported.push(`${event} ${payload.what}`)
      })()
      return listening
    })
    await Promise.all(stops.map((listening) => listening.ready()))
    const states = await DesiredStates.open(nats.bus)
    const consumers = (await streamInfo(nats.bus, 'KV_MYELIN_DESIRED'))!.state.consumer_count
    const wanted = await states.patch('local', unit, { state: 'paused' }, 'test')
    await until(() => reported.length === 2, 15_000)
    revision = wanted.revision
    await until(() => reported.length === 4, 15_000)
    expect(reported.sort()).toEqual(['converged revision', 'converged state', 'drifted revision', 'drifted state'])
    // looking every second leaves nothing behind at the server: what is there are the watches of runners
    expect((await streamInfo(nats.bus, 'KV_MYELIN_DESIRED'))!.state.consumer_count).toBeLessThan(consumers + 3)
    await Promise.all(stops.map((listening) => listening.close()))
    await leader.stop()
    await pulse.stop()
    await states.remove('local', unit)
  })
})

describe('the record', () => {
  it('holds who commanded what and what came of it, without secrets', async () => {
    process.env.CACHE_PASSWORD = 'hunter2' // where the unit runs the reference is looked up
    const { unit, start, say } = unitOf()
    await using _ = await start()
    const config = {
      subject: unit,
      apiToken: 'hunter2',
      tokens: ['hunter2'],
      db: { password: { value: 'hunter2' }, url: 'postgres://ada:hunter2@db/orders' },
      cache: { password: { secret: 'env:CACHE_PASSWORD' } },
    }
    await say('configure', { by: 'ada', args: { config } })
    const entries = (await audit(nats.bus)).filter(({ selector }) => selector.unit === unit)
    expect(entries.map(({ outcome, by, verb }) => [outcome, by, verb])).toEqual([
      ['issued', 'ada', 'configure'],
      ['done', 'ada', 'configure'],
    ])
    expect(entries[1]!.results).toMatchObject([{ unit, ok: true, from: 'ready', to: 'ready' }])
    expect(JSON.stringify(entries)).not.toContain('hunter2')
    expect(JSON.stringify(entries)).toContain('env:CACHE_PASSWORD')
    expect((await audit(nats.bus, { limit: 1 })).length).toBe(1)
    expect(await codeOf(say('pause', { expectedRevision: 999_999 }))).toBe('STALE_REVISION')
    expect((await audit(nats.bus)).at(-1)).toMatchObject({
      outcome: 'failed',
      note: expect.stringContaining('not 999999'),
    })
  })
})

describe('log lines', () => {
  it('hold no secrets: fields, errors and texts', async () => {
    const lines: string[] = []
    nats.bus.subscribe('log.local.logged.i', (message) => lines.push(message.string()))
    await nats.bus.flush()
    const level = process.env.MYELIN_LOG
    process.env.MYELIN_LOG = 'fatal'
    const logger = createLogger({ unit: 'logged', instance: 'i' }, { bus: nats.bus, site: 'local' })
    process.env.MYELIN_LOG = level
    const err = new Error('no postgres://ada:hunter2@db', { cause: new Error('password=hunter2') })
    logger.error({ err, config: { tokens: ['hunter2'] } }, 'tried redis://:hunter2@cache')
    logger.child({ password: 'hunter2' }).error(new Error('password=hunter2'))
    await until(() => lines.length === 2)
    expect(lines.join()).not.toContain('hunter2')
    expect(JSON.parse(lines[0]!)).toMatchObject({ msg: 'tried redis://[secret]@cache', config: { tokens: '[secret]' } })
  })
})

describe('the log of a controller', () => {
  it('says by which fencing token it leads', async () => {
    const lines: { msg: string; fencing?: number }[] = []
    nats.bus.subscribe('log.local.leading.i', (message) => void lines.push(JSON.parse(message.string())))
    await nats.bus.flush()
    const level = process.env.MYELIN_LOG
    process.env.MYELIN_LOG = 'fatal'
    const logger = createLogger({ unit: 'leading', instance: 'i' }, { bus: nats.bus, site: 'local' })
    process.env.MYELIN_LOG = level
    const leader = await stand(nats.bus, 'leading', logger)
    await until(() => leader.leads)
    await leader.stop()
    await until(() => lines.some(({ msg }) => msg === 'leads no more'))
    for (const line of lines.filter(({ msg }) => msg.startsWith('leads')))
      expect(line.fencing).toEqual(expect.any(Number))
  })
})

describe('permissions', () => {
  let guarded: EmbeddedNats
  let ops: Bus
  let app: Bus
  const as = (name: string) => ({
    servers: guarded.url,
    user: name,
    password: name,
    inboxPrefix: `_INBOX_${name}`,
  })
  beforeAll(async () => {
    const user = (name: string, role: 'controller' | 'unit' | 'watcher', options: PermissionOptions = {}) =>
      `{ user: ${name}, password: ${name}, permissions: ${JSON.stringify(permissions(role, { user: name, ...options }))} }`
    const own = { units: ['guarded'], subjects: ['g'] }
    guarded = await embeddedNats({
      extraConfig: `authorization { users: [ ${user('ops', 'controller')}, ${user('app', 'unit', own)}, ${user('eye', 'watcher')} ] }`,
    })
    ops = await connect(as('ops'))
    app = await connect(as('app'))
  })
  afterAll(async () => {
    await ops.close()
    await app.close()
    await guarded.stop()
  })

  it('let only controllers command: the server refuses everybody else', async () => {
    const loaded = {
      composition: parseComposition(
        { name: 't', units: { guarded: { use: './units/counter.ts', config: { subject: 'g' } } } },
        't',
      ),
      file: 't',
      folder,
    }
    await using running = await up(app, loaded, {
      log,
      beatMs: 100,
      connect: as('app'),
    })
    await using seen = await fleet(ops)
    await seen.until({ unit: 'guarded' }, ([one]) => one !== undefined)
    const { instance } = running.status()[0]!
    const forged = Buffer.from(JSON.stringify({ id: 'forged', by: 'ops', at: Date.now() }))
    expect(await codeOf(app.request(`ctl.local.guarded.${instance}.stop`, forged, { deadline: now() + 2_000 }))).toBe(
      'PERMISSION_DENIED',
    )
    expect(states(running)).toEqual(['ready'])
    // nor by way of what controllers act upon
    const refused = ['$KV.MYELIN_DESIRED.local.guarded', '$KV.MYELIN_ROLLOUTS.x', '$KV.MYELIN_LEASES.controller']
    for (const subject of [...refused, 'audit.control.pause', '$JS.API.STREAM.PURGE.KV_MYELIN_DESIRED']) {
      expect(await codeOf(app.request(subject, forged, { deadline: now() + 2_000 }))).toBe('PERMISSION_DENIED')
    }
    // nor through a stream that publishes again what is put into it
    await app.request(
      '$JS.API.STREAM.CREATE.AGAIN',
      Buffer.from(
        JSON.stringify({
          name: 'AGAIN',
          subjects: ['again'],
          storage: 'memory',
          republish: { src: 'again', dest: `ctl.local.guarded.${instance}.stop` },
        }),
      ),
    )
    const overheard = Promise.withResolvers<void>()
    ops.subscribe(`ctl.local.guarded.${instance}.stop`, () => overheard.resolve())
    await ops.flush()
    await app.request('again', forged)
    await overheard.promise
    const obeyed = await command(ops, seen, { verb: 'pause', selector: { unit: 'guarded' }, by: 'ops' })
    expect(short(obeyed)).toEqual(['ready → paused'])
    // the same into the bucket of what should be: what comes that way is followed by nobody
    const desired = await DesiredStates.open(ops)
    await desired.patch('local', 'other', { state: 'paused' }, 'ops')
    for (const unit of ['other', 'never']) {
      const stream = {
        name: `FORGE_${unit}`,
        subjects: [`forge.${unit}`],
        storage: 'memory',
        republish: { src: `forge.${unit}`, dest: `$KV.MYELIN_DESIRED.local.${unit}` },
      }
      await app.request(`$JS.API.STREAM.CREATE.${stream.name}`, Buffer.from(JSON.stringify(stream)))
      await app.request(`forge.${unit}`, Buffer.from('{"state":"stopped"}'))
    }
    const bucket = () => streamInfo(ops, 'KV_MYELIN_DESIRED', { subjects: '$KV.MYELIN_DESIRED.local.never' })
    await until(async () => Object.keys((await bucket())!.state.subjects ?? {}).length === 1) // it did get there
    expect(await desired.get('local', 'never')).toBeUndefined()
    expect((await desired.all()).filter((entry) => entry.desired.state === 'stopped')).toEqual([])
  })

  const anything = Buffer.from('{}')
  const askedBy = async (bus: Bus, subject: string, body: unknown = {}) =>
    codeOf(bus.request(subject, Buffer.from(JSON.stringify(body)), { deadline: now() + 2_000 }))

  it('let nobody but controllers make, change or read what controllers act upon', async () => {
    const streams = ['KV_MYELIN_DESIRED', 'KV_MYELIN_ROLLOUTS', 'KV_MYELIN_LEASES', 'AUDIT']
    for (const stream of streams) {
      const sourced = { name: stream, subjects: [], sources: [{ name: 'MINE' }] }
      for (const verb of ['CREATE', 'UPDATE', 'PURGE', 'DELETE', 'MSG.DELETE', 'RESTORE', 'SNAPSHOT'])
        expect([verb, await askedBy(app, `$JS.API.STREAM.${verb}.${stream}`, sourced)]).toEqual([
          verb,
          'PERMISSION_DENIED',
        ])
    }
    for (const stream of streams.slice(1))
      for (const read of ['STREAM.MSG.GET', 'DIRECT.GET'])
        expect(await askedBy(app, `$JS.API.${read}.${stream}`)).toBe('PERMISSION_DENIED')
    const others = [
      '$JS.API.STREAM.DELETE.EVT_flights_departed',
      '$JS.API.STREAM.SNAPSHOT.EVT_flights_departed',
      '$JS.API.STREAM.PURGE.BEATS',
      '$JS.API.STREAM.UPDATE.BEATS',
      '$JS.API.STREAM.PURGE.KV_MYELIN_PARTITIONS',
      '$JS.API.META.LEADER.STEPDOWN',
      '$JS.API.ACCOUNT.PURGE.X',
      'evt.fleet.dead.feed',
      'evt.control.drifted.feed',
    ]
    for (const subject of others) expect([subject, await askedBy(app, subject)]).toEqual([subject, 'PERMISSION_DENIED'])
  })

  it("let nobody hear everything, others' commands, or others' replies", async () => {
    const heard: string[] = []
    const refused: string[] = []
    const eye = await connect(as('eye'))
    for (const bus of [app, eye]) {
      bus.on((event) => event.type === 'permission-denied' && refused.push(event.subject))
      for (const subject of ['>', '_INBOX.>', '_INBOX_ops.>', 'ctl.>', '$JS.API.>', 'audit.>'])
        bus.subscribe(subject, (message) => heard.push(message.subject))
      await bus.flush()
    }
    await until(() => refused.length === 12)
    await ops.request('$JS.API.INFO', anything)
    ops.publish('ctl.local.other.i.stop', anything)
    await ops.flush()
    for (const bus of [app, eye]) await bus.flush()
    expect(heard).toEqual([])
    await eye.close()
  })

  it('let a runner start before a controller has made what should be, and follow it from then on', async () => {
    const user = (name: string, role: 'controller' | 'unit') =>
      `{ user: ${name}, password: ${name}, permissions: ${JSON.stringify(permissions(role, { subjects: ['g'] }))} }`
    await using server = await embeddedNats({
      extraConfig: `authorization { users: [ ${user('ops', 'controller')}, ${user('app', 'unit')} ] }`,
    })
    const asApp = { servers: server.url, user: 'app', password: 'app' }
    await using bus = await connect(asApp)
    await using boss = await connect({ ...asApp, user: 'ops', password: 'ops' })
    const spec = { use: './units/counter.ts', config: { subject: 'g' } }
    const composition = parseComposition({ name: 't', units: { early: spec } }, 't')
    await using running = await up(bus, { composition, file: 't', folder }, { log, beatMs: 100, connect: asApp })
    expect(states(running)).toEqual(['ready'])
    await using seen = await fleet(boss)
    await seen.until({ unit: 'early' }, ([one]) => one !== undefined)
    const paused = await command(boss, seen, { verb: 'pause', selector: { unit: 'early' }, by: 'ops' })
    expect(short(paused)).toEqual(['ready → paused'])
    await (await DesiredStates.open(boss)).patch('local', 'early', { state: 'running' }, 'ops')
    await until(() => states(running)[0] === 'ready')
  })

  it('let a watcher see the fleet and nothing else', async () => {
    const eye = await connect(as('eye'))
    const pulse = await Pulse.start({
      connect: as('app'),
      site: 'local',
      intervalMs: 60_000,
    })
    pulse.add({
      unit: 'seldom',
      instance: 's1',
      kind: () => 'test',
      version: '1.0.0',
      tags: [],
      startedAt: Date.now(),
      state: () => 'ready',
      revision: () => 0,
      checks: () => [],
      vitals: () => ({}),
    })
    await until(async () => {
      const info = await streamInfo(ops, 'BEATS', { subjects: 'beat.local.seldom.*' })
      return Object.keys(info?.state.subjects ?? {}).length === 1
    })
    await using seen = await fleet(eye)
    expect(seen.list({ unit: 'seldom' }).length).toBe(1) // from the snapshot
    await pulse.stop()
    expect(await codeOf(eye.request('$JS.API.CONSUMER.DELETE.JOB_x.worker', new Uint8Array(0)))).toBe(
      'PERMISSION_DENIED',
    )
    expect(await codeOf(eye.request('svc.any.thing', new Uint8Array(0)))).toBe('PERMISSION_DENIED')
    const unread = ['STREAM.MSG.GET.KV_MYELIN_DESIRED', 'DIRECT.GET.KV_MYELIN_DESIRED', 'DIRECT.GET.CKPT_delays']
    for (const read of [...unread, 'CONSUMER.CREATE.CKPT_delays', 'STREAM.INFO.CKPT_delays'])
      expect([read, await askedBy(eye, `$JS.API.${read}`)]).toEqual([read, 'PERMISSION_DENIED'])
    await eye.close()
  })
})
