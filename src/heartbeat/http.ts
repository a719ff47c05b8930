// A host's health over HTTP, for orchestrators and Prometheus: /healthz (alive), /readyz (may get work), /metrics of this
// host, /metrics/fleet of everybody.
import { type FastifyInstance, fastify } from 'fastify'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { type Bus, failure } from '../bus/index.ts'
import { Opened, type Vitals } from '../unit/index.ts'
import type { CheckResult, UnitState } from './beat.ts'
import { staleReason } from './checks.ts'
import { conditionOf, type Fleet, fleet } from './fleet.ts'

/** An instance of this host, as it is when asked. */
export interface Observed {
  readonly site: string
  readonly unit: string
  readonly instance: string
  readonly state: UnitState
  readonly checks: readonly CheckResult[]
  readonly vitals: Vitals
  readonly restarts: number
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number
  close(): Promise<void>
}

const labelNames = ['site', 'unit', 'instance'] as const

/**
 * Serves the health of a host.
 * @throws MyelinError PORT_TAKEN
 */
export async function serveHealth(
  bus: Bus,
  instances: () => readonly Observed[],
  options: { port: number; host?: string },
): Promise<HealthServer> {
  const host = options.host ?? '127.0.0.1'
  const app = fastify({ forceCloseConnections: true })
  const process = new Registry()
  collectDefaultMetrics({ register: process })
  const opened = new Opened()
  opened.add(() => process.clear())
  opened.add(async () => (await watching?.catch(() => undefined))?.close())
  opened.add(() => app.close())
  let watching: Promise<Fleet> | undefined

  answerProbes(app, bus, instances)
  app.get('/metrics', async (_request, reply) => {
    const metrics = instanceMetrics(instances())
    reply.type(process.contentType)
    return (await process.metrics()) + (await metrics.metrics())
  })
  app.get('/metrics/fleet', async (_request, reply) => {
    // from the first time it is asked for; one that could not be had is asked for again
    watching ??= fleet(bus).catch((error) => {
      watching = undefined
      throw error
    })
    const registry = fleetMetrics(await watching)
    reply.type(registry.contentType)
    return registry.metrics()
  })
  const address = await app.listen({ port: options.port, host }).catch(async (cause) => {
    await opened.close()
    if (cause.code === 'EADDRINUSE')
      throw failure('PORT_TAKEN', `port ${options.port} of ${host} is in use by another process`, { cause })
    throw cause
  })
  const close = () => opened.close()
  return { port: Number(new URL(address).port), close, [Symbol.asyncDispose]: close }
}

function answerProbes(app: FastifyInstance, bus: Bus, instances: () => readonly Observed[]): void {
  const failed = (kind: 'liveness' | 'readiness') =>
    instances().flatMap(({ unit, instance, checks }) =>
      checks
        .filter((check) => check.kind === kind && check.status === 'failed')
        .map(({ name, reason }) => ({ unit, instance, check: name, reason })),
    )
  app.get('/healthz', (_request, reply) => {
    const given = instances().filter(({ state }) => state === 'failed')
    const problems = [
      ...failed('liveness'),
      ...given.map(({ unit, instance }) => ({ unit, instance, check: 'state', reason: 'failed' })),
      ...(bus.stale ? [{ unit: '', instance: '', check: 'nats', reason: staleReason(bus) }] : []),
    ]
    void reply.status(problems.length === 0 ? 200 : 503).send({ ok: problems.length === 0, problems })
  })
  app.get('/readyz', (_request, reply) => {
    const resting = instances().filter(({ state }) => state !== 'ready' && state !== 'paused' && state !== 'stopped')
    const problems = [
      ...failed('readiness'),
      ...resting.map(({ unit, instance, state }) => ({ unit, instance, check: 'state', reason: state })),
      ...(bus.connected && !bus.stale
        ? []
        : [{ unit: '', instance: '', check: 'nats', reason: bus.connected ? staleReason(bus) : 'disconnected' }]),
    ]
    void reply.status(problems.length === 0 ? 200 : 503).send({ ok: problems.length === 0, problems })
  })
}

type Labels = Record<(typeof labelNames)[number], string>

/** The gauges that this host and the fleet share. */
class InstanceGauges {
  readonly registry = new Registry()
  readonly #gauge = (name: string, help: string) =>
    new Gauge({ name: `myelin_instance_${name}`, help, labelNames, registers: [this.registry] })
  readonly #ready = this.#gauge('ready', '1 when it is ready')
  readonly #handled = this.#gauge('handled_total', 'work done since its start')
  readonly #errors = this.#gauge('errors_total', 'failures since its start')
  readonly #inFlight = this.#gauge('in_flight', 'work under way')
  readonly #lag = this.#gauge('lag', 'input stored and not yet read')
  readonly #checks = new Gauge({
    name: 'myelin_check_ok',
    help: '1 when the health check is fine, 0.5 when degraded',
    labelNames: [...labelNames, 'check'],
    registers: [this.registry],
  })

  set(labels: Labels, ready: boolean, vitals: Vitals, checks: readonly CheckResult[]): void {
    this.#ready.set(labels, ready ? 1 : 0)
    if (vitals.handled !== undefined) this.#handled.set(labels, vitals.handled)
    if (vitals.errors !== undefined) this.#errors.set(labels, vitals.errors)
    if (vitals.inFlight !== undefined) this.#inFlight.set(labels, vitals.inFlight)
    if (vitals.lag !== undefined) this.#lag.set(labels, vitals.lag)
    for (const { name, status } of checks) {
      this.#checks.set({ ...labels, check: name }, status === 'ok' ? 1 : status === 'degraded' ? 0.5 : 0)
    }
  }
}

function instanceMetrics(instances: readonly Observed[]): Registry {
  const gauges = new InstanceGauges()
  const restarts = new Gauge({
    name: 'myelin_instance_restarts_total',
    help: 'how often its host started it again',
    labelNames,
    registers: [gauges.registry],
  })
  for (const { site, unit, instance, state, vitals, checks, restarts: count } of instances) {
    gauges.set({ site, unit, instance }, state === 'ready', vitals, checks)
    restarts.set({ site, unit, instance }, count)
  }
  return gauges.registry
}

function fleetMetrics(watching: Fleet): Registry {
  const gauges = new InstanceGauges()
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `myelin_instance_${name}`, help, labelNames, registers: [gauges.registry] })
  const up = gauge('up', '1 when it beats, 0 when it is suspect or dead')
  const silent = gauge('silent_seconds', 'since its last beat')
  const loop = gauge('loop_delay_p99_seconds', 'how late its event loop is')
  const memory = gauge('resident_bytes', 'memory of its process')
  const cpu = gauge('cpu', 'share of a core its process uses')
  for (const member of watching.list()) {
    if (member.status === 'left') continue
    const { site, unit, instance, vitals, checks } = member.beat
    const labels = { site, unit, instance }
    gauges.set(labels, conditionOf(member) === 'ready', vitals, checks)
    up.set(labels, member.status === 'alive' ? 1 : 0)
    silent.set(labels, member.silentMs / 1_000)
    // beats from other languages tell what they have
    if (vitals.loopDelayP99Ms !== undefined) loop.set(labels, vitals.loopDelayP99Ms / 1_000)
    if (vitals.rssBytes !== undefined) memory.set(labels, vitals.rssBytes)
    if (vitals.cpu !== undefined) cpu.set(labels, vitals.cpu)
  }
  return gauges.registry
}
