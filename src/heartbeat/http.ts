// A runner's health over HTTP, for orchestrators and Prometheus: /healthz (alive), /readyz (may get work), /metrics of this
// runner, /metrics/fleet of everybody.
import { type FastifyInstance, fastify } from 'fastify'
import { type Bus, failure } from '../bus/internal.ts'
import { Opened, type UnitMetrics, type Vitals } from '../unit/internal.ts'
import type { CheckResult, UnitState } from './beat.ts'
import { staleReason } from './checks.ts'
import { type Fleet, fleet } from './fleet.ts'
import { fleetMetrics, processMetrics, runnerMetrics } from './metrics.ts'

/** An instance of this runner, as it is when asked. */
export interface Observed {
  readonly site: string
  readonly unit: string
  readonly instance: string
  readonly state: UnitState
  readonly checks: readonly CheckResult[]
  readonly vitals: Vitals
  readonly metrics?: UnitMetrics
  readonly restarts: number
  /** It failed and its runner is about to start it again. */
  readonly healing?: boolean
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number
  close(): Promise<void>
}

/** A request that is slower than this is not from an orchestrator or Prometheus; each holds a socket. */
const defaults = { requestMs: 10_000, idleMs: 30_000 } as const
const maxConnections = 100

export interface HealthOptions {
  /** 0: a free one. */
  readonly port: number
  /** Default `127.0.0.1`. */
  readonly host?: string
  /** How long a request may take to arrive. Default 10 s. */
  readonly requestMs?: number
  /** How long a connection may say nothing. Default 30 s. */
  readonly idleMs?: number
  /** Whether something has not been started for the first time. */
  readonly starting?: () => boolean
}

/**
 * Serves the health of a runner.
 * @throws MyelinError PORT_TAKEN
 */
export async function serveHealth(
  bus: Bus,
  instances: () => readonly Observed[],
  options: HealthOptions,
): Promise<HealthServer> {
  const { host = '127.0.0.1', requestMs = defaults.requestMs, idleMs = defaults.idleMs } = options
  const app = fastify({
    forceCloseConnections: true,
    requestTimeout: requestMs,
    connectionTimeout: idleMs,
    keepAliveTimeout: idleMs,
    http: { headersTimeout: requestMs, connectionsCheckingInterval: Math.min(1_000, requestMs / 2) },
    bodyLimit: 1_024,
  })
  app.server.maxConnections = maxConnections
  const own = processMetrics()
  const opened = new Opened()
  opened.add(() => own.clear())
  opened.add(async () => (await watching?.catch(() => undefined))?.close())
  opened.add(() => app.close())
  let watching: Promise<Fleet> | undefined

  answerProbes(app, bus, instances, options.starting ?? (() => false))
  app.get('/metrics', async (_request, reply) => {
    reply.type(own.contentType)
    return (await own.metrics()) + (await runnerMetrics(instances()))
  })
  app.get('/metrics/fleet', async (_request, reply) => {
    // from the first time it is asked for; one that could not be had is asked for again
    watching ??= fleet(bus).catch((error) => {
      watching = undefined
      throw error
    })
    const text = await fleetMetrics(await watching)
    reply.type(own.contentType)
    return text
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

function answerProbes(
  app: FastifyInstance,
  bus: Bus,
  instances: () => readonly Observed[],
  starting: () => boolean,
): void {
  const failed = (kind: 'liveness' | 'readiness') =>
    instances().flatMap(({ unit, instance, checks }) =>
      checks
        .filter((check) => check.kind === kind && check.status === 'failed')
        .map(({ name, reason }) => ({ unit, instance, check: name, reason })),
    )
  app.get('/healthz', (_request, reply) => {
    // what heals by itself is no reason to kill the others with it
    const given = instances().filter(({ state, healing }) => state === 'failed' && !healing)
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
      ...(starting() ? [{ unit: '', instance: '', check: 'state', reason: 'starting' }] : []),
      ...(bus.connected && !bus.stale
        ? []
        : [{ unit: '', instance: '', check: 'nats', reason: bus.connected ? staleReason(bus) : 'disconnected' }]),
    ]
    void reply.status(problems.length === 0 ? 200 : 503).send({ ok: problems.length === 0, problems })
  })
}
