// service(): a contract and its handlers become a unit that any runner can run. All business and routing logic is in the
// handlers; everything around them (subjects, balancing, deadlines, retries, discovery, drain) is here.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type Bus, failure } from '../bus/internal.ts'
import {
  type Contract,
  type ContractDefinition,
  cancelSubject,
  durationMs,
  type EndpointDefinition,
  type JobDefinition,
  jobStream,
  jobSubject,
} from '../contract/internal.ts'
import {
  type HealthCheck,
  type Logger,
  type Opened,
  openAll,
  type RunningUnit,
  type Unit,
  type UnitContext,
} from '../unit/internal.ts'
import { announce } from './announce.ts'
import { client } from './client.ts'
import { reportBreaking } from './compatibility.ts'
import type { Scope } from './context.ts'
import { offersMetadata } from './discover.ts'
import { EndpointServer, type InFlight } from './endpoint-server.ts'
import type { Handlers } from './handlers.ts'
import { latencyBoundsMs } from './latency.ts'
import { type EventListener, type Listen, listen, on, type RunningListener, sum } from './listeners.ts'
import { type Handle, type Middleware, withMiddleware } from './middleware.ts'
import { Guards } from './resilience.ts'
import { watchDelayed } from './schedules.ts'
import { delayedSubjects, ensureContractStreams, jobSubjects } from './streams.ts'
import type { Client } from './types.ts'
import { Worker } from './worker.ts'

/** What `setup` gets to make the service's state from. */
export interface SetupContext<Config> {
  readonly config: Config
  readonly bus: Bus
  readonly log: Logger
  readonly instance: string
  readonly client: <Definition extends ContractDefinition>(contract: Contract<Definition>) => Client<Definition>
}

/** A question about the service's health: true, or the reason why not. */
type Ask<State> = (service: { state: State }) => true | string | Promise<true | string>
/** The question alone, or with its kind, timeout and cache. */
export type ServiceCheck<State> = Ask<State> | (Omit<HealthCheck, 'run'> & { readonly run: Ask<State> })

type Listening<State, Config> =
  | EventListener<State, Config>
  | ((on: Listen<State, Config>) => EventListener<State, Config>)

interface ServiceParts<State, Config> {
  /** Schema of the unit's configuration. */
  config?: StandardSchemaV1<unknown, Config>
  /** Makes the service's state before it takes work. */
  setup?: (context: SetupContext<Config>) => State | Promise<State>
  /** Disposes the state after the last work; a state with `Symbol.asyncDispose` needs none. */
  dispose?: (state: State) => unknown
  health?: Record<string, ServiceCheck<State>>
  /** Around every call, job and event, outermost first. */
  use?: readonly Middleware[]
  /**
   * Events this service listens to: each as {@link on} makes it, or a function of `on`, whose handlers know the types of
   * `state` and `config`.
   */
  on?: readonly Listening<NoInfer<State>, NoInfer<Config>>[]
}

/**
 * Makes a service of a contract: a handler per endpoint and job, and optionally config, setup, dispose, health, use
 * and on.
 *
 * @example
 * export default service(airports, {
 *   config: z.object({ file: z.string() }),
 *   setup: ({ config }) => loadAirports(config.file),
 *   get: ({ iata }, { state, fail }) => state.get(iata) ?? fail('UNKNOWN', { iata }),
 *   async *search({ text }, { state }) { yield* state.matching(text) },
 *   reroute: async (job, { client, signal }) => { … },
 * })
 *
 * @throws MyelinError INVALID_CONTRACT when a handler is missing or has no endpoint
 */
export function service<
  Endpoints extends Readonly<Record<string, EndpointDefinition>> = Record<never, never>,
  Jobs extends Readonly<Record<string, JobDefinition>> = Record<never, never>,
  State = undefined,
  Config = unknown,
>(
  // inferred part by part: handlers are typed from their context only when they map over a type parameter itself
  contract: {
    readonly name: string
    readonly definition: Omit<ContractDefinition, 'endpoints' | 'jobs'> & {
      readonly endpoints?: Endpoints
      readonly jobs?: Jobs
    }
  },
  definition: ServiceParts<State, Config> & Handlers<Endpoints, Jobs, State, Config>,
): Unit<Config> & { readonly contract: Contract } {
  const parts = definition as unknown as ServiceParts<State, Config> & Record<string, unknown>
  checkHandlers(contract, parts)
  return {
    kind: 'service',
    name: contract.name,
    version: contract.definition.version,
    contract,
    ...(contract.definition.description ? { description: contract.definition.description } : {}),
    ...(parts.config ? { config: parts.config } : {}),
    start: (host) => openAll((opened) => start(contract, parts, host, opened)),
  }
}

const partNames = new Set(['config', 'setup', 'dispose', 'health', 'use', 'on'])

function checkHandlers(contract: Contract, parts: Record<string, unknown>): void {
  const offered = [...Object.keys(contract.definition.endpoints ?? {}), ...Object.keys(contract.definition.jobs ?? {})]
  for (const name of offered) {
    if (typeof parts[name] !== 'function')
      throw failure('INVALID_CONTRACT', `service ${contract.name}: "${name}" has no handler`)
  }
  for (const name of Object.keys(parts)) {
    if (!partNames.has(name) && !offered.includes(name)) {
      throw failure(
        'INVALID_CONTRACT',
        `service ${contract.name}: "${name}" is neither an endpoint nor a job; there are ${offered.join(', ')}`,
      )
    }
  }
}

/** What was begun goes back to the queue: the state that it works with is about to be disposed. */
function stopAtOnce(reading: { drain(): Promise<void>; abort(): void }): Promise<void> {
  const drained = reading.drain()
  reading.abort()
  return drained
}

async function start<State, Config>(
  contract: Contract,
  parts: ServiceParts<State, Config> & Record<string, unknown>,
  host: UnitContext<Config>,
  opened: Opened,
): Promise<RunningUnit> {
  const { bus, log, config, instance } = host
  // it is part of the subjects that this copy alone answers on
  if (!/^[\w-]+$/.test(instance))
    throw failure(
      'INVALID_OPTION',
      `unit '${host.unit}': instance ${JSON.stringify(instance)} needs letters, digits, - and _ only`,
    )
  const guards = new Guards()
  const setup: SetupContext<Config> = {
    config,
    bus,
    log,
    instance,
    client: (other) => client(bus, other, { caller: contract.name, guards }),
  }
  if (
    Object.keys(contract.definition.jobs ?? {}).length > 0 ||
    Object.values(contract.definition.events ?? {}).some((event) => event.durable)
  ) {
    await ensureContractStreams(bus, contract)
  }
  const state = (await parts.setup?.(setup)) as State
  const dispose = async () => {
    if (parts.dispose) await parts.dispose(state)
    else await (state as Partial<AsyncDisposable> | undefined)?.[Symbol.asyncDispose]?.()
  }
  opened.add(dispose)
  const scope: Scope = { bus, state, config, log, service: contract.name, instance, guards }
  const middleware = parts.use ?? []

  const inFlight: InFlight = new Map()
  const endpoints = Object.entries(contract.definition.endpoints ?? {}).map(
    ([name, endpoint]) =>
      new EndpointServer(
        scope,
        name,
        endpoint,
        withMiddleware('call', name, middleware, parts[name] as Handle),
        inFlight,
      ),
  )
  const workers = Object.entries(contract.definition.jobs ?? {}).map(([name, job]): [string, Worker] => {
    const where = `job ${contract.name}.${name}`
    return [
      name,
      new Worker({
        scope,
        stream: jobStream(contract.name, name),
        subjects: jobSubjects(contract, name),
        durable: 'workers',
        schema: job.payload,
        where,
        destination: jobSubject(contract.name, name),
        handle: withMiddleware('job', name, middleware, parts[name] as Handle),
        concurrency: job.concurrency ?? 16,
        attempts: job.attempts ?? 5,
        backoffMs: {
          from: durationMs(job.backoff?.from ?? '1s', where),
          to: durationMs(job.backoff?.to ?? '1m', where),
        },
        leaseMs: durationMs(job.lease ?? '30s', where),
        timeoutMs: job.timeout === undefined ? Number.POSITIVE_INFINITY : durationMs(job.timeout, where),
        deadLetter: {
          service: contract.name,
          kind: 'job',
          name,
          consumer: 'workers',
          stream: jobStream(contract.name, name),
          redriveSubject: (original) => (original === '' ? jobSubject(contract.name, name) : original),
        },
      }),
    ]
  })
  const listeners: RunningListener[] = []
  for (const endpoint of endpoints) {
    opened.add(() => endpoint.drain())
    endpoint.listen()
  }
  for (const [, worker] of workers) {
    opened.add(() => stopAtOnce(worker))
    await worker.start()
  }
  for (const listener of parts.on ?? []) {
    const made = typeof listener === 'function' ? listener(on) : listener
    const listening = await listen(scope, made, middleware)
    opened.add(() => stopAtOnce(listening))
    listeners.push(listening)
  }
  const forgotten = workers.map(([name]) =>
    watchDelayed({
      bus,
      stream: jobStream(contract.name, name),
      subjects: delayedSubjects(contract, name),
      onError: (error) => log.warn({ err: error, job: name }, 'delayed jobs could not be looked at'),
    }),
  )
  const cancels = bus.subscribe(cancelSubject(contract.name), (message) =>
    inFlight.get(message.string())?.end('cancelled'),
  )
  opened.add(() => cancels.unsubscribe())
  const silence = announce({
    bus,
    contract,
    instance,
    endpoints,
    metadata: { unit: host.unit, site: host.site, ...offersMetadata(contract) },
    data: (name) => ({ in_flight: endpoints.find((endpoint) => endpoint.name === name)?.running ?? 0 }),
  })
  opened.add(silence)
  await bus.flush() // the server knows of all subscriptions before the unit is ready
  void reportBreaking(bus, contract, instance, log)

  let drained: Promise<void> | undefined
  return {
    drain: () => {
      drained ??= (async () => {
        silence()
        for (const stop of forgotten) stop()
        // those who still work may call others; what hangs is asked to stop after a while, and left behind after another
        const finished = Promise.all([
          ...endpoints.map((endpoint) => endpoint.drain()),
          ...workers.map(([, worker]) => worker.drain()),
          ...listeners.map((listener) => listener.drain()),
        ])
        const hurry = setTimeout(() => {
          for (const context of inFlight.values()) context.end('cancelled')
          for (const [, worker] of workers) worker.abort()
          for (const listener of listeners) listener.abort()
        }, 5_000)
        let giveUp: NodeJS.Timeout | undefined
        await Promise.race([
          finished,
          new Promise((resolve) => {
            giveUp = setTimeout(resolve, 8_000)
          }),
        ])
        clearTimeout(hurry)
        clearTimeout(giveUp)
        cancels.unsubscribe()
        await dispose()
      })()
      return drained
    },
    vitals: () => {
      let handled = 0
      let errors = 0
      let inFlight = 0
      let workNs = 0
      let deadLetters = 0
      for (const { stats, running } of endpoints) {
        handled += stats.requests
        errors += stats.errors
        inFlight += running
        workNs += stats.processingNs
      }
      for (const [, { stats, running }] of workers) {
        handled += stats.done
        errors += stats.failed
        deadLetters += stats.dead
        inFlight += running
      }
      for (const listener of listeners) {
        const { done = 0, failed = 0, dead = 0 } = listener.stats()
        handled += done
        errors += failed
        deadLetters += dead
      }
      return {
        inFlight,
        handled,
        errors,
        deadLetters,
        ...(endpoints.length > 0 ? { workMs: Math.round(workNs / 1e6) } : {}),
      }
    },
    checks: Object.fromEntries(
      Object.entries(parts.health ?? {}).map(([name, check]) => [
        name,
        typeof check === 'function' ? { run: () => check({ state }) } : { ...check, run: () => check.run({ state }) },
      ]),
    ),
    metrics: () => ({
      endpoints: endpoints.map(({ name, stats, latencies }) => ({
        name,
        requests: stats.requests,
        errors: stats.errors,
        totalMs: stats.processingNs / 1e6,
        boundsMs: latencyBoundsMs,
        counts: [...latencies.counts],
      })),
    }),
    stats: () =>
      sum([
        {
          calls: 0,
          callErrors: 0,
          ...sum(endpoints.map(({ stats }) => ({ calls: stats.requests, callErrors: stats.errors }))),
        },
        ...workers.map(([, { stats }]) => ({ jobsDone: stats.done, jobsFailed: stats.failed, jobsDead: stats.dead })),
        ...listeners.map((listener) => {
          const { done = 0, failed = 0, dead = 0 } = listener.stats()
          return { eventsDone: done, eventsFailed: failed, eventsDead: dead }
        }),
      ]),
  }
}
