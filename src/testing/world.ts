// A running world for one's own tests: a real nats-server in a temporary folder on a free port, units on it, typed
// clients, and an end that says what was left behind. It needs no test runner, and works with any.
import {
  type Bus,
  type BusSubscription,
  type ConnectOptions,
  connect,
  type EmbeddedNats,
  embeddedNats,
  failure,
  messageOf,
} from '../bus/internal.ts'
import { type Contract, type ContractDefinition, type Duration, durationMs } from '../contract/internal.ts'
import { type LoadedComposition, loadComposition, parseComposition, type Running, up } from '../runtime/index.ts'
import { type Client, client } from '../service/index.ts'
import { createLogger, isUnit, type Logger, type Unit } from '../unit/internal.ts'
import { Leaks } from './leaks.ts'
import { until } from './until.ts'

/** A unit of a world with its configuration. */
export interface WorldUnit {
  // biome-ignore lint/suspicious/noExplicitAny: each unit parses its own
  readonly unit: Unit<any>
  readonly config?: Readonly<Record<string, unknown>>
  /** Default: the unit's own. */
  readonly name?: string
  /** Running copies. Default 1. */
  readonly replicas?: number
}

/** What runs in a world. */
export interface WorldOptions {
  /** Units, started in this order. */
  // biome-ignore lint/suspicious/noExplicitAny: each unit parses its own
  readonly units?: readonly (Unit<any> | WorldUnit)[]
  /** Instead: a composition's file, or the folder that holds it. */
  readonly composition?: string
  /** Only these units of the composition. */
  readonly only?: readonly string[]
  /** Replaces keys of units' configurations. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** How long a unit may take to drain at the end. Default 5 s. */
  readonly drain?: Duration
  /** What is left behind at the end is an error. Default true. */
  readonly leakCheck?: boolean
  /** Default: warnings and worse, on stderr, or what `MYELIN_LOG` says. */
  readonly log?: Logger
}

/** A running world; see {@link start}. */
export interface World extends AsyncDisposable {
  /** A connection of the test's own. */
  readonly bus: Bus
  readonly server: EmbeddedNats
  /** The units: their status, their ends. */
  readonly running: Running
  /** A typed client, as `client(world.bus, contract)`. */
  client<Definition extends ContractDefinition>(contract: Contract<Definition>): Client<Definition>
  /** One more connection; it is closed with the world. */
  connect(options?: ConnectOptions): Promise<Bus>
  /** @see until */
  until<Result>(condition: () => Result | Promise<Result>, within?: Duration): Promise<Result>
  /**
   * Drains the units, last one first, closes the connections, stops the server and removes its folder.
   * @throws MyelinError LEFT_BEHIND: units that did not drain, subscriptions that they kept, timers, sockets and processes
   *   that would keep the test's process alive, each with where it was made
   */
  close(): Promise<void>
}

/**
 * Starts a world: units, or a composition, on a real server of their own. Several may run at once.
 *
 * @example
 * await using world = await start({ units: [greeter, { unit: delays, config: { from: '2001-01-01' } }] })
 * const { text } = await world.client(greetings).greet({ name: 'Ada' })
 * await world.until(() => letters.length === 1, '2s')
 *
 * @throws MyelinError what the server's or a unit's start throws; nothing is left running then
 */
export async function start(options: WorldOptions): Promise<World> {
  const leaks = new Leaks()
  const world = new Made(options, leaks)
  try {
    await leaks.within(() => world.start())
  } catch (error) {
    await world.close().catch(() => undefined) // why it did not start matters more
    throw error
  }
  return world
}

class Made implements World {
  readonly #options: WorldOptions
  readonly #leaks: Leaks
  readonly #connections: Bus[] = []
  readonly #subscriptions = new Set<BusSubscription>()
  #server: EmbeddedNats | undefined
  #bus: Bus | undefined
  #running: Running | undefined
  #closing: Promise<void> | undefined

  constructor(options: WorldOptions, leaks: Leaks) {
    this.#options = options
    this.#leaks = leaks
  }

  async start(): Promise<void> {
    const { only, config, drain = 5_000, composition } = this.#options
    const drainMs = durationMs(drain, 'drain')
    const loaded = await loadedOf(this.#options)
    this.#server = await embeddedNats()
    this.#bus = await this.connect()
    const units = await this.connect()
    keepTrack(units, this.#subscriptions)
    this.#running = await up(units, loaded, {
      drainMs,
      // units alone need nobody who watches and steers them
      ...(composition === undefined ? { beatMs: 0, control: false } : {}),
      ...(only ? { only } : {}),
      ...(config ? { config } : {}),
      log: this.#options.log ?? quiet(),
    })
  }

  get bus(): Bus {
    return this.#bus!
  }
  get server(): EmbeddedNats {
    return this.#server!
  }
  get running(): Running {
    return this.#running!
  }

  client<Definition extends ContractDefinition>(contract: Contract<Definition>): Client<Definition> {
    return client(this.bus, contract)
  }

  async connect(options: ConnectOptions = {}): Promise<Bus> {
    const bus = await connect({ servers: this.server.url, ...options })
    this.#connections.push(bus)
    return bus
  }

  until<Result>(condition: () => Result | Promise<Result>, within?: Duration): Promise<Result> {
    return until(condition, within)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    const left: string[] = []
    const step = async (work: () => Promise<unknown> | undefined) => {
      await work()?.catch((error: unknown) => left.push(messageOf(error)))
    }
    await step(() => this.#running?.drain())
    for (const { unit, instance, state, error } of this.#running?.status() ?? []) {
      if (state !== 'stopped') left.push(error ?? `unit '${unit}' (${instance}) is ${state}`)
    }
    const subjects = [...this.#subscriptions].map(({ subject }) => subject)
    if (subjects.length > 0) left.push(`subscriptions that no unit ended: ${[...new Set(subjects)].join(', ')}`)
    for (const bus of this.#connections) await step(() => bus.close())
    await step(() => this.#server?.stop())
    left.push(...(await this.#leaks.end()))
    if (left.length === 0 || this.#options.leakCheck === false) return
    throw failure('LEFT_BEHIND', `the world did not end cleanly: ${left.join('; ')}`, { data: { left } })
  }
}

async function loadedOf({ units = [], composition, only, config }: WorldOptions): Promise<LoadedComposition> {
  if (composition !== undefined) {
    if (units.length > 0) throw failure('INVALID_OPTION', 'a world runs units or a composition, not both')
    return loadComposition(composition)
  }
  if (units.length === 0) throw failure('INVALID_OPTION', 'a world needs units or a composition')
  if (only || config) throw failure('INVALID_OPTION', 'only and config are for a composition: units have their own')
  const specs = units.map((given) => {
    const { unit, name = unit.name, ...rest } = isUnit(given) ? { unit: given } : (given as WorldUnit)
    return [name, { use: unit, ...rest }] as const
  })
  const twice = specs.find(([name], i) => specs.some(([other], j) => other === name && j < i))
  if (twice) throw failure('INVALID_OPTION', `two units are called '${twice[0]}': give one of them a name of its own`)
  const parsed = parseComposition({ name: 'world', units: Object.fromEntries(specs) }, 'units')
  return { composition: parsed, file: 'units', folder: process.cwd() }
}

function quiet(): Logger {
  const log = createLogger()
  if (process.env.MYELIN_LOG === undefined) (log as { level?: string }).level = 'warn'
  return log
}

/** Knows of every subscription of a connection that was not ended. */
function keepTrack(bus: Bus, open: Set<BusSubscription>): void {
  const subscribe = bus.subscribe.bind(bus)
  bus.subscribe = (...given) => {
    const subscription = subscribe(...given)
    const ended = () => open.delete(known)
    const known: BusSubscription = {
      subject: subscription.subject,
      get received() {
        return subscription.received
      },
      drain() {
        ended()
        return subscription.drain()
      },
      unsubscribe() {
        ended()
        subscription.unsubscribe()
      },
    }
    open.add(known)
    return known
  }
}
