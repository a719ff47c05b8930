// What a unit's process, thread or uncaught error must never do to its runner, and what a runner tells while things start.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandLine } from '../../test/support/cli.ts'
import { composed, status } from '../../test/support/composition.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { alive } from '../../test/support/processes.ts'
import { createLogger } from '../unit/internal.ts'
import { up } from './index.ts'

const nats = withNats()
const command = commandLine(nats)
const log = createLogger()

const counter = (subject: string, config: object = {}, more: object = {}) => ({
  use: './units/counter.ts',
  config: { subject, ...config },
  ...more,
})
const report = async (subject: string, text = '') => {
  nats.bus.publish(subject, Buffer.from(text))
  await nats.bus.flush()
}

describe('a runner', () => {
  it.each(['process', 'worker'] as const)('says at once which value cannot be sent to a %s', async (isolation) => {
    const config = { nested: [{ onDone: () => undefined }] }
    const started = performance.now()
    const running = up(nats.bus, composed({ counter: counter('c', config, { isolation }) }), { log, beatMs: 0 })
    await expect(running).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('config.nested.0.onDone is a function'),
    })
    expect(performance.now() - started).toBeLessThan(20_000)
  })

  it('gets the whole reason of a child, however long, and survives whatever it sends', async () => {
    const units = { counter: counter('long', { chatty: true }, { isolation: 'process' }) }
    const errors: string[] = []
    await using running = await up(nats.bus, composed(units), {
      log,
      beatMs: 0,
      onChange: ({ error }) => error !== undefined && errors.push(error),
    })
    await report('long', 'fail at length')
    await until(() => errors.length > 0, 20_000)
    expect(errors[0]).toMatch(/^x{60000}/)
    await until(() => status(running).state === 'ready', 20_000)
  })

  it('goes on when a unit of its own process throws or rejects where nobody catches it, in a callback too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'myelin-test-'))
    const use = join(import.meta.dirname, '../../test/fixtures/units/counter.ts')
    const unit = (name: string) => ({ use, config: { subject: name } })
    await writeFile(
      join(folder, 'myelin.yaml'),
      JSON.stringify({ name: 'careless', units: { careless: unit('careless'), calm: unit('calm') } }),
    )
    const { child, ran, ended } = command.start(['up', folder])
    const said = (pattern: RegExp, times: number) =>
      until(() => ran.out.split('\n').filter((line) => pattern.test(line)).length >= times, 30_000)
    await said(/^careless.* runs on/, 1)
    for (const [i, how] of ['throw null', 'reject'].entries()) {
      await report('careless', how)
      await said(/^careless\.\w+ ready/, i + 2)
    }
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
    expect(ran.out).toContain('nobody awaits this')
    expect(ran.out.split('\n').filter((line) => /^calm\.\w+ ready/.test(line))).toHaveLength(1)
    await rm(folder, { recursive: true, force: true })
  }, 60_000)

  it('is stopped while units start, in its own process and in others', async () => {
    const stop = new AbortController()
    const pids = new Set<number>()
    const units = {
      here: counter('slow', { startMs: 60_000 }),
      apart: counter('slow', { startMs: 60_000 }, { isolation: 'process' }),
      done: counter('quick', {}, { isolation: 'process' }),
    }
    const starting = up(nats.bus, composed(units), {
      log,
      beatMs: 0,
      drainMs: 300,
      signal: stop.signal,
      onChange: ({ unit, state, pid }) => {
        if (unit !== 'done' || state !== 'ready') return
        pids.add(pid)
        stop.abort(new Error('told to'))
      },
    })
    await expect(starting).rejects.toThrow('told to')
    expect([...pids].map(alive)).toEqual([false])
  }, 60_000)

  it('is not ready before everything has started once, and alive while it heals what died', async () => {
    let asked: Promise<number> | undefined
    let port = 0
    const running = await up(
      nats.bus,
      composed({ counter: counter('health', {}, { isolation: 'process' }), late: counter('late', { startMs: 500 }) }),
      {
        log,
        beatMs: 0,
        httpPort: 0,
        onListening: (found) => {
          port = found
          asked = fetch(`http://127.0.0.1:${port}/readyz`).then(({ status }) => status)
        },
      },
    )
    expect(await asked).toBe(503)
    const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status
    await until(async () => (await get('/readyz')) === 200)
    const { pid } = status(running)
    process.kill(pid, 'SIGKILL')
    const seen = new Set<number>()
    await until(async () => {
      seen.add(await get('/healthz'))
      return status(running).restarts === 1 && status(running).state === 'ready'
    }, 20_000)
    expect([...seen]).toEqual([200])
    await running.drain()
    expect(await codeOf(up(nats.bus, composed({ counter: counter('x', { failAtStart: true }) }), { log }))).toBe(
      'UNIT_FAILED',
    )
  })

  it('tells in its beats why a unit failed, in this process or another, without secrets and bounded', async () => {
    const units = { here: counter('why.here'), apart: counter('why.apart', {}, { isolation: 'worker' }) }
    await using running = await up(nats.bus, composed(units), { log })
    const why = `fail: no such file: /x nats://me:hunter22@there:4222 ${'é'.repeat(2_000)}`
    const killer = setInterval(() => {
      void report('why.here', why)
      void report('why.apart', why)
    }, 20)
    await running.over.finally(() => clearInterval(killer))
    const listed = async (...words: string[]) => (await command.myelin(...words)).out
    await until(
      async () => (await listed('ls')).match(/^(here|apart)\.\S+: no such file: \/x /gm)?.length === 2,
      20_000,
    )
    const shown = await listed('describe', 'here')
    expect(shown).toContain('no such file: /x')
    expect(shown).not.toContain('hunter22')
    const members = JSON.parse(await listed('ls', '--json')) as { unit: string; reason?: string }[]
    for (const { reason } of members.filter(({ unit }) => unit in units)) {
      expect(reason).toContain('no such file: /x')
      expect(Buffer.byteLength(reason!)).toBeLessThanOrEqual(500)
    }
  }, 60_000)
})
