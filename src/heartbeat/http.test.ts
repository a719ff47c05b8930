import { spawnSync } from 'node:child_process'
import { connect as dial } from 'node:net'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from '../service/index.ts'
import { beatSubject, type Observed, serveHealth } from './index.ts'

const nats = withNats()
const promtool = spawnSync('promtool', ['--version']).status === 0
if (!promtool)
  console.warn('NOT CHECKED: promtool is missing, so metrics are not checked by it; apt-get install prometheus')

/** What promtool finds wrong with a text of metrics. */
const lint = (text: string) => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text })
  return { status, said: `${stdout}${stderr}` }
}
const fine = { status: 0, said: '' }
const odd = 'a"b\\c\nd'

const observed = (more: Partial<Observed>): Observed => ({
  site: 's',
  unit: 'u',
  instance: 'i',
  state: 'ready',
  checks: [],
  vitals: {},
  restarts: 0,
  ...more,
})

describe('metrics', () => {
  it('are counters, gauges and histograms as Prometheus wants them, of calls, failures, dead letters and restarts', async () => {
    const gates = contract('gates', {
      version: '1.0.0',
      endpoints: { open: { in: z.object({ no: z.number() }), out: z.object({}), errors: { SHUT: z.object({}) } } },
    })
    await using running = await serve(
      nats.bus,
      service(gates, { open: ({ no }, { fail }) => (no < 0 ? fail('SHUT', {}) : {}) }),
    )
    const api = client(nats.bus, gates)
    for (const no of [1, 2, -1]) await api.open({ no }).catch(() => undefined)
    const instances = () => [
      observed({
        unit: odd,
        instance: '1',
        checks: [{ name: odd, kind: 'liveness', status: 'ok', since: 0 }],
        vitals: { ...running.vitals!(), deadLetters: 2, lag: Number.NaN },
        metrics: running.metrics!(),
        restarts: 3,
      }),
      observed({ instance: '2', vitals: { handled: -1 } }),
    ]
    await using health = await serveHealth(nats.bus, instances, { port: 0 })
    const text = await (await fetch(`http://127.0.0.1:${health.port}/metrics`)).text()
    const line = (name: string, more = '') =>
      text.split('\n').find((one) => one.startsWith(`${name}{`) && one.includes('instance="1"') && one.includes(more))
    const labels = 'site="s",unit="a\\"b\\\\c\\nd",instance="1"'
    expect(line('myelin_instance_handled_total')).toBe(`myelin_instance_handled_total{${labels}} 3`)
    expect(line('myelin_instance_dead_letters_total')).toBe(`myelin_instance_dead_letters_total{${labels}} 2`)
    expect(line('myelin_instance_restarts_total')).toBe(`myelin_instance_restarts_total{${labels}} 3`)
    expect(line('myelin_endpoint_errors_total')).toBe(`myelin_endpoint_errors_total{${labels},endpoint="open"} 1`)
    expect(line('myelin_endpoint_duration_seconds_bucket', 'le="+Inf"')).toMatch(/ 3$/)
    expect(line('myelin_endpoint_duration_seconds_count')).toMatch(/endpoint="open"} 3$/)
    for (const [name, type] of [
      ['myelin_instance_handled_total', 'counter'],
      ['myelin_instance_errors_total', 'counter'],
      ['myelin_instance_restarts_total', 'counter'],
      ['myelin_endpoint_duration_seconds', 'histogram'],
    ])
      expect(text).toContain(`# TYPE ${name} ${type}\n`)
    if (promtool) expect(lint(text)).toEqual(fine)
  })

  it('of the fleet stand whatever others send', async () => {
    await using health = await serveHealth(nats.bus, () => [], { port: 0 })
    const url = `http://127.0.0.1:${health.port}/metrics/fleet`
    await fetch(url)
    const said = { kind: 'k', version: '1', state: 'ready', revision: 0, startedAt: 1, seq: 1, nextMs: 60_000 }
    const beat = (unit: string, more: object) => {
      const reported = { site: 's', unit, instance: 'i', ...said, checks: [], vitals: {}, ...more }
      nats.bus.publish(beatSubject('s', unit, 'i'), Buffer.from(JSON.stringify(reported)))
    }
    beat('bare', {})
    beat('x"}\\1{', { vitals: { handled: -5, lag: null, errors: 'many', rssBytes: 1e308 } })
    beat('checked', {
      checks: [
        { name: `${odd}{}`, status: 'ok' },
        { name: 'twice', status: 'ok' },
        { name: 'twice', status: 'failed' },
      ],
    })
    await nats.bus.flush()
    const get = async () => (await fetch(url)).text()
    await until(async () => (await get()).includes('unit="checked"'))
    const answer = await fetch(url)
    expect(answer.status).toBe(200)
    const text = await answer.text()
    expect(text).toContain('unit="x\\"}\\\\1{"')
    if (promtool) expect(lint(text)).toEqual(fine)
  })
})

describe('the health server', () => {
  it('ends requests that are not sent to their end, and connections that say nothing', async () => {
    await using health = await serveHealth(nats.bus, () => [], { port: 0, requestMs: 300, idleMs: 600 })
    const ended = (text: string) =>
      new Promise<boolean>((resolve) => {
        const socket = dial(health.port, '127.0.0.1', () => socket.write(text))
        socket.on('close', () => resolve(true))
        socket.on('error', () => undefined)
        socket.resume()
      })
    const half = [
      'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ',
      'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{',
      '',
    ]
    expect(await Promise.all(half.map(ended))).toEqual([true, true, true])
    expect((await fetch(`http://127.0.0.1:${health.port}/healthz`)).status).toBe(200)
  })
})
