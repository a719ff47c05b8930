import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { command, DesiredStates } from '../control/index.ts'
import { fleet } from '../heartbeat/index.ts'
import { type CompositionSpec, configHash, parseComposition, up } from '../runtime/index.ts'
import { createLogger, type Logger } from '../unit/internal.ts'
import { differences } from './differences.ts'
import { table } from './text.ts'

const nats = withNats()
const folder = join(import.meta.dirname, '../../test/fixtures')
const use = './units/counter.ts'
const loadedOf = (units: CompositionSpec['units'], at = folder) => ({
  composition: parseComposition({ name: 'compared', units }, 'test'),
  file: 'test',
  folder: at,
})

describe('what differs between a composition and what runs', () => {
  it('is its configuration, module, isolation, copies, and units that it does not have', async () => {
    const log = createLogger()
    const units = { one: { use, config: { subject: 'one', slow: false } }, more: { use, config: { subject: 'more' } } }
    await using _ = await up(nats.bus, loadedOf(units), { log, beatMs: 100 })
    await using watching = await fleet(nats.bus)
    const states = await DesiredStates.open(nats.bus)
    await watching.until({}, (members) => members.length === 2)
    const against = async (changed: CompositionSpec['units'], at?: string) =>
      (await differences(loadedOf(changed, at), watching, states)).map(
        (d) => `${d.unit} ${d.what} ${d.wanted} ${d.found}`,
      )
    expect(await against(units)).toEqual([])
    // the order of keys is no difference, one that is not there any more is
    expect(await against({ ...units, one: { use, config: { slow: false, subject: 'one' } } })).toEqual([])
    const other = configHash({ subject: 'one', slow: false })
    const fewer = await against({ ...units, one: { use, config: { subject: 'one' } } })
    expect(fewer).toEqual([`one config {"subject":"one"} another one (${other})`])
    expect(await against({ ...units, one: { ...units.one, isolation: 'process' } })).toEqual([
      'one isolation process none',
    ])
    expect(await against({ ...units, one: { ...units.one, replicas: 2 } })).toEqual(['one replicas 2 1'])
    expect(await against({ one: units.one })).toEqual(['more unit none 1 running'])
    expect(await against({ ...units, third: { use } })).toEqual(['third replicas 1 0'])
    const moved = await against({ ...units, one: { ...units.one, use: './units/other.ts' } })
    expect(moved.join()).toMatch(/^one module .\/units\/other.ts .\/units\/counter.ts$/)
    // the same name in another folder is another file
    const elsewhere = await mkdtemp(join(tmpdir(), 'myelin-diff-'))
    await writeFile(join(elsewhere, 'counter.ts'), 'export default 1')
    const edited = { ...units, one: { ...units.one, use: join(elsewhere, 'counter.ts') } }
    expect((await against(edited)).join()).toMatch(/^one module .*counter.ts \(\w{12}\)/)
    await rm(elsewhere, { recursive: true })

    const say = (verb: 'configure' | 'reset', args = {}) =>
      command(nats.bus, watching, { verb, selector: { unit: 'one' }, args, by: 'test' })
    // all of it, also what is not there any more
    expect((await say('configure', { config: { subject: 'one' }, exact: true })).ok).toBe(true)
    await until(async () => (await against({ ...units, one: { use, config: { subject: 'one' } } })).length === 0)
    expect(await against(units)).toEqual(['one config {"subject":"one","slow":false} {"subject":"one"}'])
    // keys on top of that stay, until it is reset
    expect((await say('configure', { config: { startMs: 1 } })).ok).toBe(true)
    expect((await states.get('local', 'one'))!.desired).toMatchObject({ config: { subject: 'one', startMs: 1 } })
    expect((await say('reset')).ok).toBe(true)
    await until(async () => (await against(units)).length === 0)
    expect((await states.get('local', 'one'))!.desired.config).toBeUndefined()
  })

  it('is told at start where desired state beats the file; flags win over it', async () => {
    const reported: string[] = []
    const listening = { warn: (_fields: object, text: string) => reported.push(text), child: () => log } as object
    const log = Object.assign(Object.create(createLogger()), listening) as Logger
    const states = await DesiredStates.open(nats.bus)
    await states.patch('local', 'kept', { config: { subject: 'b', startMs: 1 }, replicas: 2 }, 'ada')
    const loaded = loadedOf({ kept: { use, config: { subject: 'a' } } })
    await using watching = await fleet(nats.bus, { unit: 'kept' })
    await using running = await up(nats.bus, loaded, { log, beatMs: 100, config: { kept: { subject: 'flag' } } })
    const about = reported.filter((text) => text.startsWith("unit 'kept'"))
    expect(about).toEqual([
      expect.stringMatching(
        /^unit 'kept' starts as it was told before \(2 copies; other values of startMs; by ada, .*\), not as its composition says; back to the composition: myelin ctl reset kept$/,
      ),
    ])
    const all = await watching.until({}, (members) => members.filter((m) => m.beat.state === 'ready').length === 2)
    expect(all[0]!.beat.origin!.config).toBe(configHash({ subject: 'flag', startMs: 1 }))
    const say = (verb: 'pause' | 'resume' | 'reset') =>
      command(nats.bus, watching, { verb, selector: { unit: 'kept' }, by: 'test' })
    // other commands say nothing of the configuration
    await say('pause')
    await say('resume')
    nats.bus.publish('flag', new Uint8Array(0))
    await until(() => running.status().every(({ stats }) => stats.counted === 1))
    expect((await say('reset')).ok).toBe(true)
    await until(() => running.status().length === 1)
  })
})

describe('tables', () => {
  it('show control characters of names that others chose, and are not moved by them', () => {
    expect(table(['UNIT'], [['a\u001b[2Jb\nc']])).toBe('UNIT\na·[2Jb·c')
  })
})
