// up(): from a composition to running units, one lifecycle for all of them.
import { isDeepStrictEqual } from 'node:util'
import { type Bus, type ConnectOptions, failure, hasCode, MyelinError, messageOf, nearest } from '../bus/internal.ts'
import { Agent, configIdOf } from '../control/index.ts'
import { type HealthServer, type Observed, type Origin, Pulse, serveHealth, stateOn } from '../heartbeat/index.ts'
import { createLogger, keepLogs, type Logger, parseConfig } from '../unit/internal.ts'
import type { Composition, UnitSpec } from './composition.ts'
import { startHere } from './in-process.ts'
import { Instance, type InstanceStatus } from './instance.ts'
import { startIsolated } from './isolated.ts'
import { type LoadedComposition, loadUnit, throwPlaced } from './load.ts'
import { configHash, moduleHash, useName } from './origin.ts'

export interface UpOptions {
  /** Only these units. */
  only?: readonly string[]
  /** Only what runs at this site. */
  site?: string
  /** How processes of their own, and the heartbeat, reach the server that `bus` is connected to. Default: its URL. */
  connect?: ConnectOptions
  /** Replaces keys of units' configurations. */
  config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** How long a unit may drain before its process is killed. Default 15 s. */
  drainMs?: number
  /** Time between beats. Default 1,000 ms; 0: none. */
  beatMs?: number
  /** Obey the control plane. Default true where JetStream is on. */
  control?: boolean
  /** Serve /healthz, /readyz and /metrics on this port; 0: a free one. */
  httpPort?: number
  httpHost?: string
  /** Called when it is served, which is before units start. */
  onListening?: (port: number) => void
  /** Aborted while units start: those that stand are drained, the others are given up, and `up` rejects with its reason. */
  signal?: AbortSignal
  log?: Logger
  onChange?: (status: InstanceStatus) => void
}

/** A running composition. */
export interface Running extends AsyncDisposable {
  readonly name: string
  /** Port of /healthz, /readyz and /metrics, where they are served. */
  readonly httpPort: number | undefined
  status(): InstanceStatus[]
  /** Resolves when every instance of a unit came to its own end; rejects when one was given up. */
  finished(unit: string): Promise<void>
  /** Resolves with the first instance whose restarting was given up. */
  readonly failed: Promise<MyelinError>
  /** Resolves when all instances were given up: nothing is left that works. */
  readonly over: Promise<MyelinError>
  /** Drains one unit. */
  stop(unit: string): Promise<void>
  /**
   * Goes on with a changed composition: units that are new, changed or `touched` start anew, those that are gone are
   * drained, the others do not notice. Resolves with what was done, and why units did not start.
   */
  reload(
    loaded: LoadedComposition,
    touched?: readonly string[],
  ): Promise<{
    readonly did: readonly { readonly unit: string; readonly did: 'started' | 'restarted' | 'stopped' }[]
    readonly errors: readonly unknown[]
  }>
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
  checkNames(loaded.composition, options)
  const runner = new Runner(bus, loaded, options)
  const cancel = () => runner.cancel()
  options.signal?.addEventListener('abort', cancel, { once: true })
  try {
    options.signal?.throwIfAborted()
    await runner.start()
    options.signal?.throwIfAborted()
  } catch (error) {
    await runner.drain()
    throw options.signal?.aborted ? options.signal.reason : error
  } finally {
    options.signal?.removeEventListener('abort', cancel)
  }
  return runner
}

/** Whether the units and the site that are asked for exist. @throws MyelinError INVALID_COMPOSITION */
export function checkNames(composition: Composition, { only = [], config = {}, site }: UpOptions): void {
  const names = Object.keys(composition.units)
  for (const name of [...only, ...Object.keys(config)]) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    throw failure(
      'INVALID_COMPOSITION',
      `there is no unit "${name}"${near ? `; did you mean "${near}"?` : ''} (units: ${names.join(', ')})`,
    )
  }
  const sites = Object.keys(composition.sites)
  if (site !== undefined && !sites.includes(site)) {
    throw failure('INVALID_COMPOSITION', `there is no site "${site}" (sites: ${sites.join(', ') || 'none'})`)
  }
}

/** Whether nothing changed; a unit given itself is the same only when it is. */
function sameSpec(a: UnitSpec, b: UnitSpec): boolean {
  return a.use === b.use && isDeepStrictEqual({ ...a, use: '' }, { ...b, use: '' })
}

/** Configurations are replaced, never changed: each is hashed once. */
const hashes = new WeakMap<object, string>()
function hashOf(config: object): string {
  let hash = hashes.get(config)
  if (hash === undefined) {
    hash = configHash(config)
    hashes.set(config, hash)
  }
  return hash
}

/** States in which a copy of another process has no process that could beat. */
const withoutProcess = new Set(['starting', 'paused', 'stopped', 'failed'])

class Runner implements Running {
  readonly name: string
  readonly #bus: Bus
  #loaded: LoadedComposition
  readonly #options: UpOptions
  readonly #log: Logger
  readonly #site: string
  readonly #connect: ConnectOptions
  readonly #beatMs: number
  readonly #failed = Promise.withResolvers<MyelinError>()
  readonly #over = Promise.withResolvers<MyelinError>()
  readonly #givenUp = new Set<Instance>()
  readonly #instances: Instance[] = []
  /** The module of each instance, when it was started last. */
  readonly #modules = new WeakMap<Instance, string | undefined>()
  #pulse: Pulse | undefined
  #agent: Agent | undefined
  #health: HealthServer | undefined
  readonly #stopKeepingLogs: (() => void) | undefined
  #draining: Promise<void> | undefined
  #started = false
  #cancelled = false

  constructor(bus: Bus, loaded: LoadedComposition, options: UpOptions) {
    const { composition } = loaded
    this.name = composition.name
    this.#bus = bus
    this.#loaded = loaded
    this.#options = options
    this.#site = options.site ?? Object.keys(composition.sites)[0] ?? 'local'
    this.#log = options.log ?? createLogger({ composition: composition.name }, { bus, site: this.#site })
    bus.replicas ??= composition.storage.replicas
    if (!options.log)
      this.#stopKeepingLogs = keepLogs(bus, (error) => {
        if (hasCode(error, 'STREAM_MISMATCH', 'PERMISSION_DENIED'))
          this.#log.warn(`logs are not kept for \`myelin logs --since\`: ${messageOf(error)}`)
      })
    this.#connect = {
      ...(options.connect ?? { servers: [...new Set([bus.url, ...bus.servers])] }),
      ...(bus.replicas === undefined ? {} : { replicas: bus.replicas }),
    }
    this.#beatMs = options.beatMs ?? 1_000
  }

  get failed(): Promise<MyelinError> {
    return this.#failed.promise
  }

  get over(): Promise<MyelinError> {
    return this.#over.promise
  }

  get httpPort(): number | undefined {
    return this.#health?.port
  }

  async start(): Promise<void> {
    const { httpPort, httpHost } = this.#options
    if (httpPort !== undefined) {
      const options = {
        port: httpPort,
        starting: () => !this.#started,
        ...(httpHost === undefined ? {} : { host: httpHost }),
      }
      this.#health = await serveHealth(this.#bus, () => this.#observed(), options)
      this.#options.onListening?.(this.#health.port)
    }
    if (this.#beatMs > 0) {
      this.#pulse = await Pulse.start({ connect: this.#connect, site: this.#site, intervalMs: this.#beatMs })
    }
    const wanted = Object.keys(this.#loaded.composition.units).filter((name) => this.#here(name))
    if (this.#options.control !== false) this.#agent = await this.#listen()
    this.#announceDesired(wanted)
    const started = await Promise.allSettled(
      wanted.flatMap((name) => Array.from({ length: this.#replicasOf(name) }, () => this.#add(name))),
    )
    const broken = started.find((result) => result.status === 'rejected')
    if (broken) throw broken.reason
    await this.#agent?.start()
    this.#started = true
  }

  /** Nobody waits for what has not started yet. */
  cancel(): void {
    this.#cancelled = true
    for (const instance of this.#instances) void instance.stop().catch(() => undefined)
  }

  async reload(loaded: LoadedComposition, touched: readonly string[] = []) {
    const before = this.#loaded.composition.units
    const wasHere = new Set(Object.keys(before).filter((name) => this.#here(name)))
    const { units } = loaded.composition
    this.#loaded = loaded
    const did: { unit: string; did: 'started' | 'restarted' | 'stopped' }[] = []
    const errors: unknown[] = []
    for (const name of new Set([...wasHere, ...Object.keys(units).filter((unit) => this.#here(unit))])) {
      const old = wasHere.has(name) ? before[name] : undefined
      const now = this.#here(name) ? units[name] : undefined
      if (old && now && !touched.includes(name) && sameSpec(old, now)) continue
      await Promise.all(this.#of(name).map((instance) => this.#remove(instance)))
      if (!now) {
        this.#agent?.forget(name)
        did.push({ unit: name, did: 'stopped' })
        continue
      }
      if (!old) {
        this.#agent?.listenFor(name)
        await this.#agent?.read(name)
      }
      // one that does not start is no reason to leave the others as they were
      const copies = Array.from({ length: this.#replicasOf(name) }, () => this.#add(name))
      const broken = (await Promise.allSettled(copies)).find((result) => result.status === 'rejected')
      if (broken) errors.push(broken.reason)
      else did.push({ unit: name, did: old ? 'restarted' : 'started' })
    }
    return { did, errors }
  }

  /** The listener for commands; without JetStream there is no control plane. */
  async #listen(): Promise<Agent | undefined> {
    const runner = {
      siteOf: (unit: string) => this.#siteOf(unit),
      units: () => Object.keys(this.#loaded.composition.units).filter((name) => this.#here(name)),
      instances: (unit: string) => this.#of(unit),
      replicasOf: (unit: string) => this.#loaded.composition.units[unit]?.replicas ?? 0,
      scale: (unit: string, replicas: number) => this.#scale(unit, replicas),
    }
    try {
      return await Agent.open(this.#bus, runner, this.#log)
    } catch (error) {
      if (!(error instanceof MyelinError) || error.code !== 'JETSTREAM_DISABLED') throw error
      this.#log.warn('JetStream is off: the control plane does not work, heartbeats have no snapshot')
      return undefined
    }
  }

  /** Whether this runner runs a unit. */
  #here(name: string): boolean {
    const { only, site } = this.#options
    const own = this.#loaded.composition.units[name]?.site
    return (only?.includes(name) ?? true) && (site === undefined || own === undefined || own === site)
  }

  /** A unit that has a site of its own is there, whatever else its runner runs. */
  #siteOf(name: string): string {
    return this.#loaded.composition.units[name]?.site ?? this.#site
  }

  #replicasOf(name: string): number {
    return this.#agent?.wanted(name)?.desired.replicas ?? this.#loaded.composition.units[name]!.replicas
  }

  #observed(): Observed[] {
    return this.#instances.map((instance) => ({
      site: this.#siteOf(instance.unit),
      unit: instance.unit,
      instance: instance.instance,
      state: stateOn(this.#bus, instance.state),
      checks: instance.run?.checks() ?? [],
      vitals: instance.run?.vitals() ?? {},
      metrics: instance.run?.metrics() ?? {},
      restarts: instance.status().restarts,
      healing: instance.restarting,
    }))
  }

  /** Starts or stops copies until there are so many; the youngest go first. */
  async #scale(unit: string, replicas: number): Promise<void> {
    const present = this.#of(unit)
    const added = await Promise.allSettled(
      Array.from({ length: Math.max(0, replicas - present.length) }, () => this.#add(unit)),
    )
    await Promise.all(present.slice(replicas).map((instance) => this.#remove(instance)))
    const broken = added.find((result) => result.status === 'rejected')
    if (broken) throw broken.reason
  }

  async #remove(instance: Instance): Promise<void> {
    await instance.stop().catch(() => undefined) // its status tells
    this.#pulse?.remove(instance.instance)
    this.#instances.splice(this.#instances.indexOf(instance), 1)
  }

  /** One more copy of a unit. */
  async #add(name: string): Promise<void> {
    const loaded = this.#loaded
    const { folder } = loaded
    const spec: UnitSpec = loaded.composition.units[name]!
    const desired = this.#agent?.wanted(name)
    const id = crypto.randomUUID().slice(0, 8)
    const log = this.#log.child({ unit: name, instance: id })
    const instance = new Instance({
      unit: name,
      instance: id,
      config: { ...spec.config, ...this.#options.config?.[name] },
      flags: this.#options.config?.[name],
      log: this.#log,
      onChange: (status) => this.#options.onChange?.(status),
      checkConfig: async (config) => {
        await parseConfig(await loadUnit(spec.use, folder, `units.${name}.use`), config, `unit '${name}'`)
      },
      start: async (config, revision, givenUp) => {
        const site = this.#siteOf(name)
        const drainMs = this.#options.drainMs ?? 15_000
        this.#modules.set(instance, await moduleHash(spec.use, folder))
        if (spec.isolation !== 'none') {
          const run = startIsolated(
            {
              unit: name,
              instance: id,
              site,
              use: spec.use as string,
              folder,
              config,
              connect: this.#connect,
              revision,
              beatMs: this.#beatMs,
              tags: spec.tags,
              origin: this.#originOf(instance, spec),
            },
            { as: spec.isolation, drainMs, givenUp },
          )
          return run.catch((error) => throwPlaced(error, loaded, name, config))
        }
        const unit = await loadUnit(spec.use, folder, `units.${name}.use`)
        const context = { bus: this.#bus, config, unit: name, instance: id, site, log }
        return startHere(unit, context, drainMs, givenUp).catch((error) => throwPlaced(error, loaded, name, config))
      },
    })
    if (desired) {
      // a configuration that was told once and fits no longer must not keep the unit from running: nobody could fix it
      const { config, exact, by, logLevel } = desired.desired
      const as = { exact, configId: configIdOf(desired.desired) }
      const wrong = config && (await instance.preset(config, as).catch((error: Error) => error))
      if (wrong) {
        const from = `desired state, revision ${desired.revision}, by ${by}`
        log.error({ err: wrong }, `the configuration of ${from} does not fit and is left out: ${wrong.message}`)
      }
      instance.followed(wrong ? 0 : desired.revision, logLevel)
    }
    if (this.#cancelled) throw failure('UNIT_FAILED', `unit '${name}' was stopped before it started`)
    this.#instances.push(instance)
    void instance.gaveUp.then((error) => {
      this.#failed.resolve(error)
      this.#givenUp.add(instance)
      if (this.#instances.every((one) => this.#givenUp.has(one) && one.state === 'failed')) this.#over.resolve(error)
    })
    try {
      // what was paused or stopped stays so over a restart of its runner
      if (desired && desired.desired.state !== 'running') await instance.rest(desired.desired.state)
      else await instance.start()
    } finally {
      this.#beat(instance) // one that did not start is there as well, to be seen and commanded
    }
  }

  /** What an instance is made of. */
  #originOf(instance: Instance, spec: UnitSpec): Origin {
    const module = this.#modules.get(instance)
    return {
      composition: this.name,
      use: useName(spec.use),
      ...(module === undefined ? {} : { module }),
      isolation: spec.isolation,
      config: hashOf(instance.config),
      given: hashOf(instance.given),
    }
  }

  /** Says which units start other than their composition says, because somebody once said so. */
  #announceDesired(names: readonly string[]): void {
    for (const name of names) {
      const entry = this.#agent?.wanted(name)
      const spec = this.#loaded.composition.units[name]!
      if (!entry) continue
      const { state, replicas, config = {}, by, at } = entry.desired
      const flags = this.#options.config?.[name] ?? {}
      const keys = Object.keys(config).filter(
        (key) => !(key in flags) && !isDeepStrictEqual(config[key], spec.config[key]),
      )
      const differences = [
        ...(state === 'running' ? [] : [state]),
        ...(replicas === undefined || replicas === spec.replicas ? [] : [`${replicas} copies`]),
        ...(keys.length === 0 ? [] : [`other values of ${keys.join(', ')}`]),
      ]
      if (differences.length === 0) continue
      const back = `back to the composition: myelin ctl reset ${name}`
      this.#log.warn(
        { unit: name, revision: entry.revision },
        `unit '${name}' starts as it was told before (${differences.join('; ')}; by ${by || 'unknown'}, ${at}), not as its composition says; ${back}`,
      )
    }
  }

  /** Beats for an instance of this process; one of another process beats by itself while it lives. */
  #beat(instance: Instance): void {
    this.#pulse?.add({
      site: this.#siteOf(instance.unit),
      unit: instance.unit,
      instance: instance.instance,
      kind: () => instance.identity.kind,
      get version() {
        return instance.identity.version
      },
      tags: this.#loaded.composition.units[instance.unit]?.tags ?? [],
      // that of the latest run, wherever it was: watchers take what is older for the past, what is newer for a restart
      get startedAt() {
        return instance.identity.startedAt
      },
      state: () => stateOn(this.#bus, instance.state),
      silent: () =>
        instance.run?.beats === true ||
        (instance.elsewhere && (instance.restarting || !withoutProcess.has(instance.state))),
      reason: () => instance.reason,
      revision: () => instance.revision,
      origin: () => {
        const spec = this.#loaded.composition.units[instance.unit]
        return spec && this.#originOf(instance, spec)
      },
      checks: () => instance.run?.checks() ?? [],
      vitals: () => instance.run?.vitals() ?? {},
    })
  }

  status(): InstanceStatus[] {
    return this.#instances.map((instance) => instance.status())
  }

  async finished(unit: string): Promise<void> {
    const of = this.#of(unit)
    const gaveUp = of.map(async (instance) => {
      throw await instance.gaveUp
    })
    await Promise.race([Promise.all(of.map((instance) => instance.finished)), ...gaveUp])
  }

  async stop(unit: string): Promise<void> {
    await Promise.all(
      this.#of(unit).map(async (instance) => {
        await instance.stop().catch(() => undefined) // its status tells
        this.#pulse?.remove(instance.instance)
      }),
    )
  }

  drain(): Promise<void> {
    this.#stopKeepingLogs?.()
    this.#draining ??= this.#stopAll()
    return this.#draining
  }

  /** What cannot be stopped keeps nothing else from being stopped. */
  async #stopAll(): Promise<void> {
    const steps = [
      () => this.#agent?.stop(),
      // last unit first: what is fed stops after what feeds it is a matter of the composition's order
      ...Object.keys(this.#loaded.composition.units)
        .reverse()
        .map((name) => () => this.stop(name)),
      () => this.#health?.close(),
      () => this.#pulse?.stop(true),
    ]
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        this.#log.error({ err: error }, `while stopping: ${messageOf(error)}`)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain()
  }

  #of(unit: string): Instance[] {
    return this.#instances.filter((instance) => instance.unit === unit)
  }
}
