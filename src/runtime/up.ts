// up(): from a composition to running units, one lifecycle for all of them.
import { type Bus, type ConnectOptions, failure, type MyelinError } from '../bus/index.ts'
import { createLogger, type Logger } from '../unit/index.ts'
import { nearest } from './composition.ts'
import { startHere } from './in-process.ts'
import { Instance, type InstanceStatus, type Life } from './instance.ts'
import { startIsolated } from './isolated.ts'
import { type LoadedComposition, loadUnit } from './load.ts'

export interface UpOptions {
  /** Only these units. */
  only?: readonly string[]
  /** How processes of their own reach the server that `bus` is connected to. Default: its URL. */
  connect?: ConnectOptions
  /** Replaces keys of units' configurations. */
  config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** How long a unit may drain before its process is killed. Default 15 s. */
  drainMs?: number
  log?: Logger
  onChange?: (status: InstanceStatus) => void
}

/** A running composition. */
export interface Running extends AsyncDisposable {
  readonly name: string
  status(): InstanceStatus[]
  /** Resolves when every instance of a unit came to its own end; rejects when one was given up. */
  finished(unit: string): Promise<void>
  /** Resolves with the first instance whose restarting was given up. */
  readonly failed: Promise<MyelinError>
  /** Drains one unit. */
  stop(unit: string): Promise<void>
  /** Drains everything, last unit first, each within its bound. */
  drain(): Promise<void>
}

/**
 * Starts the units of a composition on a connection.
 *
 * @example
 * const loaded = await loadComposition('examples/airline')
 * await using running = await up(bus, loaded, { only: ['airports'] })
 *
 * @throws MyelinError INVALID_COMPOSITION, INVALID_CONFIG, FILE_NOT_FOUND, UNIT_FAILED, and what a unit's start throws;
 *   units that did start are drained first
 */
export async function up(bus: Bus, loaded: LoadedComposition, options: UpOptions = {}): Promise<Running> {
  const { composition, folder } = loaded
  const names = Object.keys(composition.units)
  for (const name of [...(options.only ?? []), ...Object.keys(options.config ?? {})]) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    throw failure(
      'INVALID_COMPOSITION',
      `there is no unit "${name}"${near ? `; did you mean "${near}"?` : ''} (units: ${names.join(', ')})`,
    )
  }
  const log = options.log ?? createLogger({ composition: composition.name })
  const connect: ConnectOptions = options.connect ?? { servers: bus.url }
  const drainMs = options.drainMs ?? 15_000
  const instances: Instance[] = []

  for (const name of names) {
    if (options.only && !options.only.includes(name)) continue
    const spec = composition.units[name]!
    const config = { ...spec.config, ...options.config?.[name] }
    const site = spec.site ?? Object.keys(composition.sites)[0] ?? 'local'
    for (let replica = 0; replica < spec.replicas; replica++) {
      const instance = crypto.randomUUID().slice(0, 8)
      const start = async (): Promise<Life> => {
        if (spec.isolation === 'process') {
          const use = spec.use as string
          return startIsolated({ unit: name, instance, site, use, folder, config, connect }, { drainMs })
        }
        const unit = await loadUnit(spec.use, folder, `units.${name}`)
        const child = log.child({ unit: name, instance })
        return startHere(unit, { bus, config, unit: name, instance, site, log: child })
      }
      instances.push(new Instance(name, instance, start, log, options.onChange ?? (() => undefined)))
    }
  }

  const drain = async () => {
    // last unit first: what is fed stops after what feeds it is a matter of the composition's order
    for (const name of [...names].reverse()) {
      await Promise.all(instances.filter(({ unit }) => unit === name).map((instance) => instance.stop()))
    }
  }
  const started = await Promise.allSettled(instances.map((instance) => instance.start()))
  const broken = started.find((result) => result.status === 'rejected')
  if (broken) {
    await drain()
    throw broken.reason
  }
  return {
    name: composition.name,
    status: () => instances.map((instance) => instance.status()),
    finished: async (name) => {
      const of = instances.filter(({ unit }) => unit === name)
      const gaveUp = of.map(async (instance) => {
        throw await instance.gaveUp
      })
      await Promise.race([Promise.all(of.map((instance) => instance.finished)), ...gaveUp])
    },
    failed: Promise.race(instances.map((instance) => instance.gaveUp)),
    stop: async (name) => {
      await Promise.all(instances.filter(({ unit }) => unit === name).map((instance) => instance.stop()))
    },
    drain,
    [Symbol.asyncDispose]: drain,
  }
}
