import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { composed, status } from '../../test/support/composition.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { alive } from '../../test/support/processes.ts'
import { createLogger } from '../unit/internal.ts'
import { type CompositionSpec, inOwnProcesses, loadComposition, parseComposition, touchedUnits, up } from './index.ts'

const nats = withNats()
const folder = join(import.meta.dirname, '../../test/fixtures')
const log = createLogger()

const counter = (subject: string, more: object = {}) => ({ use: './units/counter.ts', config: { subject }, ...more })
const report = async (subject: string, text = '') => {
  nats.bus.publish(subject, Buffer.from(text))
  await nats.bus.flush()
}

describe('composition', () => {
  const issues = (value: unknown): string => {
    try {
      parseComposition(value, 'myelin.config.ts')
      return 'none'
    } catch (error) {
      expect((error as { code: string }).code).toBe('INVALID_COMPOSITION')
      return (error as Error).message
    }
  }

  it('names every wrong key by its path, with what was expected and what may have been meant', () => {
    expect(issues({ name: 'x', units: { a: { use: './a.ts', replicas: 'two' } } })).toContain(
      'units.a.replicas: Invalid input: expected number, received string',
    )
    expect(issues({ name: 'x', units: { a: { use: './a.ts', replica: 2 } } })).toContain(
      'units.a: unknown key "replica"; did you mean "replicas"?',
    )
    expect(issues({ name: 'x', unit: {}, units: { a: { use: './a.ts' } } })).toContain(
      'unknown key "unit"; did you mean "units"?',
    )
    expect(issues({ name: 'x', units: {} })).toContain('units: expected at least one unit')
    expect(issues({ name: 'x', units: { a: { use: 7 } } })).toContain(
      'units.a.use: expected the path of a module or a unit',
    )
    expect(issues({ name: 'x', units: { 'a b': { use: './a.ts' } } })).toContain('units.a b')
    expect(issues({ name: 'x', units: { a: { use: './a.ts', site: 'mars' } } })).toContain(
      'units.a.site: "mars" is not one of the sites',
    )
    expect(issues({ name: 'x', units: { a: { use: './a.ts', isolation: 'thread' } } })).toContain('units.a.isolation')
    expect(issues(undefined)).toContain('the file')
    const two = issues({ name: 'x', units: { a: { use: './a.ts', replicas: -1 }, b: {} } })
    expect(two).toContain('units.a.replicas')
    expect(two).toContain('units.b.use')
  })

  describe('files', () => {
    let dir: string
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'myelin-composition-'))
    })
    afterAll(() => rm(dir, { recursive: true, force: true }))

    it('are TypeScript or YAML, and errors name them', async () => {
      expect(await codeOf(loadComposition(dir))).toBe('FILE_NOT_FOUND')
      expect(await codeOf(loadComposition(join(dir, 'none.yaml')))).toBe('FILE_NOT_FOUND')
      await writeFile(join(dir, 'myelin.yaml'), 'name: y\nunits:\n  a: { use: ./a.ts, replicas: 3 }\n')
      expect((await loadComposition(dir)).composition.units.a?.replicas).toBe(3)
      await writeFile(join(dir, 'bad.yaml'), 'name: [')
      expect(await codeOf(loadComposition(join(dir, 'bad.yaml')))).toBe('INVALID_COMPOSITION')
      await writeFile(join(dir, 'broken.config.mjs'), 'export default {')
      expect(await codeOf(loadComposition(join(dir, 'broken.config.mjs')))).toBe('INVALID_COMPOSITION')
    })
  })
})

describe('up', () => {
  it('asks for the replicas that its storage says, which one server cannot keep', async () => {
    const { composition, ...rest } = composed({ parts: { use: './units/parts.ts' } })
    const started = up(
      await nats.connect(),
      { ...rest, composition: { ...composition, storage: { replicas: 3 } } },
      { log },
    )
    await expect(started).rejects.toMatchObject({
      code: 'REPLICAS_UNAVAILABLE',
      message: expect.stringContaining('this server is alone: it keeps one'),
    })
  })

  it('runs replicas here and in processes of their own, and drains them', async () => {
    const running = await up(
      nats.bus,
      composed({
        counter: counter('here', { replicas: 2 }),
        apart: counter('apart', { isolation: 'process' }),
      }),
      { log },
    )
    expect(running.status().map(({ unit, state }) => [unit, state])).toEqual([
      ['counter', 'ready'],
      ['counter', 'ready'],
      ['apart', 'ready'],
    ])
    const { pid } = status(running, 'apart')
    expect(pid).not.toBe(process.pid)
    await report('here')
    await report('apart')
    await until(() => status(running).stats.counted === 1 && status(running, 'apart').stats.counted === 1)
    await running.drain()
    expect(running.status().every(({ state }) => state === 'stopped')).toBe(true)
    expect(alive(pid)).toBe(false)
  })

  it('starts again what was killed -9, and its neighbours do not notice', async () => {
    await using running = await up(
      nats.bus,
      composed({ counter: counter('killed', { isolation: 'process' }), neighbour: counter('killed') }),
      { log },
    )
    const { pid } = status(running)
    process.kill(pid, 'SIGKILL')
    await until(() => status(running).state === 'ready' && status(running).pid !== pid)
    expect(status(running).restarts).toBe(1)
    expect(status(running, 'neighbour')).toMatchObject({ state: 'ready', restarts: 0 })
    await report('killed')
    await until(() => status(running).stats.counted === 1 && status(running, 'neighbour').stats.counted === 1)
  })

  it('starts again a unit that fails in this process', async () => {
    await using running = await up(nats.bus, composed({ counter: counter('failing') }), { log })
    await report('failing', 'fail')
    await until(() => status(running).restarts === 1 && status(running).state === 'ready')
  })

  it('runs units in threads of their own, restarts and drains them, and their blocked loop is theirs alone', async () => {
    await using running = await up(nats.bus, composed({ counter: counter('thread', { isolation: 'worker' }) }), { log })
    expect(status(running)).toMatchObject({ state: 'ready', pid: process.pid })
    await report('thread')
    await until(() => status(running).stats.counted === 1)
    await report('thread', 'fail')
    await until(() => status(running).restarts === 1 && status(running).state === 'ready')
    await running.drain()
    expect(status(running).state).toBe('stopped')
    const stuck = await up(
      nats.bus,
      composed({ counter: counter('stuck', { isolation: 'worker', config: { subject: 'stuck', hangInDrain: true } }) }),
      { log, drainMs: 200 },
    )
    await stuck.drain()
    expect(status(stuck).error).toContain('had not drained after 0.2 s and was killed')
  })

  it('gives up what fails again and again, and says so', async () => {
    const units = { counter: counter('hopeless'), other: counter('hopeful') }
    await using running = await up(nats.bus, composed(units), { log, httpPort: 0 })
    const end = running.failed
    let over = false
    void running.over.then(() => {
      over = true
    })
    const killer = setInterval(() => void report('hopeless', 'fail'), 20)
    const error = await end
    clearInterval(killer)
    expect(error).toMatchObject({ code: 'UNIT_FAILED', message: 'told to' })
    expect(status(running)).toMatchObject({ state: 'failed', error: 'told to' })
    // the others do not notice
    expect(running.status().find(({ unit }) => unit === 'other')!.state).toBe('ready')
    expect((await fetch(`http://127.0.0.1:${running.httpPort}/healthz`)).status).toBe(503)
    expect(over).toBe(false)
    const last = setInterval(() => void report('hopeful', 'fail'), 20)
    await running.over
    clearInterval(last)
  })

  it('drains within a bound what it cannot kill, and reports it', async () => {
    const running = await up(
      nats.bus,
      composed({ counter: counter('hh', { config: { subject: 'hh', hangInDrain: true } }) }),
      {
        log,
        drainMs: 100,
      },
    )
    await running.drain()
    expect(status(running)).toMatchObject({ state: 'failed' })
    expect(status(running).error).toContain('had not drained after 0.1 s')
  })

  it('goes on when a thread throws nothing at all, a check answers nonsense or numbers cannot be told', async () => {
    await using running = await up(
      nats.bus,
      composed({
        counter: counter('odd', { isolation: 'worker' }),
        odd: counter('odd2', { config: { subject: 'odd2', odd: true } }),
      }),
      { log, beatMs: 100, httpPort: 0 },
    )
    await report('odd', 'throw null')
    await until(() => status(running).restarts === 1 && status(running).state === 'ready')
    await until(async () => {
      const { problems } = (await (await fetch(`http://127.0.0.1:${running.httpPort}/readyz`)).json()) as {
        problems: { reason: string }[]
      }
      return problems.some(({ reason }) => reason === 'answered false instead of true or a reason')
    })
    expect(status(running, 'odd').state).toBe('ready')
  })

  it('kills a process that does not drain in time, and reports it', async () => {
    const running = await up(
      nats.bus,
      composed({
        counter: { use: './units/counter.ts', isolation: 'process', config: { subject: 'h', hangInDrain: true } },
      }),
      { log, drainMs: 300 },
    )
    const { pid } = status(running)
    await running.drain()
    expect(status(running).state).toBe('failed')
    expect(status(running).error).toContain('had not drained after 0.3 s and was killed')
    expect(alive(pid)).toBe(false)
  })

  it('drains what started when another unit cannot', async () => {
    const starting = (units: CompositionSpec['units']) => codeOf(up(nats.bus, composed(units), { log }))
    expect(
      await starting({
        ok: counter('x'),
        bad: { use: './units/counter.ts', config: { subject: 'x', failAtStart: true } },
      }),
    ).toBe('UNIT_FAILED')
    expect(
      await starting({
        bad: { use: './units/counter.ts', isolation: 'process', config: { subject: 'x', failAtStart: true } },
      }),
    ).toBe('UNIT_FAILED')
    expect(await starting({ bad: { use: './units/counter.ts', config: { subject: 7 } } })).toBe('INVALID_CONFIG')
    expect(await starting({ bad: { use: './units/counter.ts', isolation: 'process', config: {} } })).toBe(
      'INVALID_CONFIG',
    )
    expect(await starting({ bad: { use: './units/none.ts' } })).toBe('FILE_NOT_FOUND')
    expect(await starting({ bad: { use: './units/not-a-unit.ts' } })).toBe('INVALID_COMPOSITION')
  })

  it('serves health and metrics over HTTP, of itself and of the fleet', async () => {
    await using running = await up(
      nats.bus,
      composed({
        counter: counter('seen'),
        unwell: counter('seen', { isolation: 'process', config: { subject: 'seen', unhealthy: true } }),
      }),
      { log, httpPort: 0, beatMs: 100 },
    )
    const get = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${running.httpPort}${path}`)
      return { status: response.status, text: await response.text() }
    }
    expect((await get('/healthz')).status).toBe(200)
    await until(async () => (await get('/readyz')).status === 503)
    expect(JSON.parse((await get('/readyz')).text).problems).toMatchObject([
      { unit: 'unwell', check: 'fine', reason: 'told to be unwell' },
    ])
    const { text } = await get('/metrics')
    expect(text).toMatch(/myelin_instance_ready\{site="local",unit="counter",instance="\w+"\} 1/)
    expect(text).toMatch(/myelin_check_ok\{[^}]*unit="unwell"[^}]*check="fine"\} 0/)
    expect(text).toContain('process_cpu_seconds_total')
    await until(async () => /myelin_instance_up\{[^}]*unit="unwell"[^}]*\} 1/.test((await get('/metrics/fleet')).text))
    const taken = up(nats.bus, composed({ counter: counter('x') }), { log, httpPort: running.httpPort! })
    expect(await codeOf(taken)).toBe('PORT_TAKEN')
  })

  it('goes on with a changed composition: only what the change touches starts anew', async () => {
    const before = composed({ a: counter('ra'), b: counter('rb'), gone: counter('rg') })
    await using running = await up(nats.bus, before, { log })
    const instanceOf = (unit: string) => running.status().find((s) => s.unit === unit)?.instance
    const [a, b] = [instanceOf('a'), instanceOf('b')]
    const after = composed({ a: counter('ra'), b: counter('rb2', { replicas: 2 }), fresh: counter('rf') })
    expect((await running.reload(after)).did).toEqual([
      { unit: 'b', did: 'restarted' },
      { unit: 'gone', did: 'stopped' },
      { unit: 'fresh', did: 'started' },
    ])
    expect(instanceOf('a')).toBe(a)
    expect(instanceOf('b')).not.toBe(b)
    expect(
      running
        .status()
        .map(({ unit }) => unit)
        .sort(),
    ).toEqual(['a', 'b', 'b', 'fresh'])
    expect((await running.reload(after, ['a'])).did).toEqual([{ unit: 'a', did: 'restarted' }])
    await report('rb2')
    await until(() => running.status().filter(({ unit, stats }) => unit === 'b' && stats.counted === 1).length === 2)
  })

  it('starts the others anew when one of them cannot, and nothing that it does not run', async () => {
    const before = composed({ a: counter('oa'), b: counter('ob'), other: counter('oo') })
    await using running = await up(nats.bus, before, { log, only: ['a', 'b'] })
    const failing = { config: { subject: 'oa', failAtStart: true } }
    const after = composed({ a: counter('oa', failing), b: counter('ob2'), other: counter('oo2') })
    const { did, errors } = await running.reload(after, ['other'])
    expect(did).toEqual([{ unit: 'b', did: 'restarted' }])
    expect(errors).toMatchObject([{ code: 'UNIT_FAILED', message: "unit 'a' did not start: no" }])
    expect(running.status().map(({ unit, state }) => [unit, state])).toEqual([
      ['a', 'failed'],
      ['b', 'ready'],
    ])
    expect((await running.reload(before)).did.map(({ unit }) => unit)).toEqual(['a', 'b'])
  })

  it('knows which units a changed file touches', async () => {
    const airline = await loadComposition(join(import.meta.dirname, '../../examples/airline'))
    const touched = (...files: string[]) =>
      touchedUnits(airline, new Set(files.map((file) => join(airline.folder, file))))
    expect(await touched('units/delays.ts')).toEqual(['delays'])
    expect(await touched('contracts/airports.ts')).toEqual(['board', 'airports', 'rebooking', 'states'])
    expect(await touched('README.md')).toEqual([])
  })

  it('runs units that need no module, and says which there are', async () => {
    const loaded = composed({
      one: { use: 'myelin:controller' },
      two: { use: 'myelin:controller', isolation: 'process' },
    })
    await using running = await up(nats.bus, loaded, { log })
    expect(running.status().map(({ kind, state }) => [kind, state])).toEqual([
      ['controller', 'ready'],
      ['controller', 'ready'],
    ])
    // nothing of theirs is in a file that could change
    const [one, two] = Object.values(inOwnProcesses(loaded).composition.units)
    expect([one!.isolation, two!.isolation]).toEqual(['none', 'process'])
    expect(await touchedUnits(loaded, new Set([join(folder, 'units/counter.ts')]))).toEqual([])
    const odd = up(nats.bus, composed({ odd: { use: 'myelin:procesor' } }), { log })
    await expect(odd).rejects.toThrow('units.odd.use: there is no "myelin:procesor"; did you mean "myelin:processor"?')
    const loose = up(nats.bus, composed({ odd: { use: 'myelin:sse', config: { streams: { a: {} } } } }), { log })
    await expect(loose).rejects.toThrow('config.streams.a: expected { view }, { event }')
  })

  it('knows only the units there are', async () => {
    const running = up(nats.bus, composed({ counter: counter('x') }), { only: ['countr'], log })
    await expect(running).rejects.toThrow('there is no unit "countr"; did you mean "counter"?')
  })
})
