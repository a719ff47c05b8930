// A unit is anything with a lifecycle that a runner runs: a service, a processor, a gateway, a feed. This is the whole
// interface between a pattern and what runs it; every pattern folder makes units, the runtime starts and drains them.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Bus } from '../bus/internal.ts'
import type { Logger } from './log.ts'

/** What a runner gives to a unit that it starts. */
export interface UnitContext<Config = unknown> {
  readonly bus: Bus
  /** Parsed by the unit's own schema. */
  readonly config: Config
  /** The unit's name in the composition. */
  readonly unit: string
  /** Unique id of this running copy. */
  readonly instance: string
  readonly site: string
  readonly log: Logger
}

/** What a watcher wants to know of a unit at a glance. All are optional; units tell what they have. */
export interface Vitals {
  /** Work under way. */
  readonly inFlight?: number
  /** Work done since start; watchers make a rate of it. */
  readonly handled?: number
  /** Failures since start. */
  readonly errors?: number
  /** Time spent on the work of `handled` since start, in ms; its mean over a while is the latency there. */
  readonly workMs?: number
  /** Input stored and not yet read. */
  readonly lag?: number
  /** Jobs and events given up since start. */
  readonly deadLetters?: number
}

/** What a unit measures in detail, for Prometheus; it does not travel in beats. */
export interface UnitMetrics {
  readonly endpoints?: readonly EndpointMetrics[]
}

/** Calls of one endpoint since start. */
export interface EndpointMetrics {
  readonly name: string
  readonly requests: number
  readonly errors: number
  /** Time of all calls together. */
  readonly totalMs: number
  /** Upper bounds of the ranges of `counts`, in ms, ascending; one more count is of those above the last bound. */
  readonly boundsMs: readonly number[]
  readonly counts: readonly number[]
}

/** A question about a unit's health; see `myelin/heartbeat` for ready-made ones. */
export interface HealthCheck {
  /** True, or the reason why not. A rejection is a failure as well. */
  readonly run: () => true | string | Promise<true | string>
  /** `liveness`: restarting may help. `readiness` (the default): it should get no work for now. */
  readonly kind?: 'liveness' | 'readiness'
  /** Works, but not as it should: told as `degraded` instead of `failed`. */
  readonly degrades?: boolean
  /** An answer that takes longer is a failure. Default 1,000 ms. */
  readonly timeoutMs?: number
  /** How long an answer is good for. Default 1,000 ms. */
  readonly cacheMs?: number
}

/** A started unit. */
export interface RunningUnit {
  /** Stops taking work, finishes what is in flight, acknowledges, and leaves nothing behind. */
  drain(): Promise<void>
  /** Counters since start, for summaries and metrics. */
  stats?(): Record<string, number>
  vitals?(): Vitals
  metrics?(): UnitMetrics
  /** Asked again and again while it runs, each within its timeout. */
  readonly checks?: Readonly<Record<string, HealthCheck>>
  /**
   * Resolves when the unit's work has come to its own end (units that run for ever have none); rejects when it has
   * failed for good and must be started again.
   */
  readonly done?: Promise<void>
}

/** A startable unit. `name` is the default name in a composition. */
export interface Unit<Config = unknown> {
  readonly kind: string
  readonly name: string
  readonly version?: string
  readonly description?: string
  /** Schema of the configuration; what it parses is `context.config`. */
  readonly config?: StandardSchemaV1<unknown, Config>
  start(context: UnitContext<Config>): Promise<RunningUnit>
}

/**
 * Defines a unit of one's own.
 *
 * @example
 * export default defineUnit({
 *   kind: 'ticker', name: 'ticker', config: z.object({ everyMs: z.number() }),
 *   async start({ bus, config }) {
 *     const timer = setInterval(() => bus.publish('tick', new Uint8Array(0)), config.everyMs)
 *     return { async drain() { clearInterval(timer) } }
 *   },
 * })
 */
export function defineUnit<Config>(unit: Unit<Config>): Unit<Config> {
  return unit
}

/**
 * Whether a value (a module's default export, say) is a unit.
 * @example if (!isUnit(loaded)) throw new Error('the module exports no unit by default')
 */
export function isUnit(value: unknown): value is Unit {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Unit).kind === 'string' &&
    typeof (value as Unit).name === 'string' &&
    typeof (value as Unit).start === 'function'
  )
}
