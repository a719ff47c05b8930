// A runner's listener for commands, and its loop that makes its units what they should be.
import { type Bus, type BusSubscription, boundedText, failure, MyelinError, messageOf } from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { type Ack, Command, commandSubject, everyInstance, type Verb, verbs } from './command.ts'
import { type Desired, type DesiredEntry, DesiredStates } from './desired.ts'

/** `exact`: the whole configuration, not keys on top of the composition's; `configId`: which one of desired state. */
export interface ConfigureAs {
  readonly exact?: boolean | undefined
  readonly configId?: string
}

/** What the control plane may do with an instance. */
export interface Controlled {
  readonly unit: string
  readonly instance: string
  readonly state: string
  readonly revision: number
  /** Which configuration of desired state it has: empty for that of its composition. */
  readonly configId: string
  pause(): Promise<void>
  resume(): Promise<void>
  restart(): Promise<void>
  stop(): Promise<void>
  configure(config: Readonly<Record<string, unknown>>, as?: ConfigureAs): Promise<void>
  checkConfig(config: Readonly<Record<string, unknown>>, exact?: boolean): Promise<void>
  followed(revision: number, logLevel: string | undefined): void
}

/** The runner that an agent works for. */
export interface ControlledRunner {
  /** Where a unit of it is. */
  siteOf(unit: string): string
  /** What it runs now. */
  units(): readonly string[]
  instances(unit: string): readonly Controlled[]
  /** Copies that its composition wants. */
  replicasOf(unit: string): number
  /** Starts or stops copies until there are so many. */
  scale(unit: string, replicas: number): Promise<void>
}

/** How a revision was followed: by whoever noticed it first, the watch over the bucket or the command itself. */
interface Made {
  readonly revision: number
  readonly instances: Map<string, { readonly instance: Controlled; readonly from: string; readonly error?: unknown }>
}

/** A command that is older is refused: it may be a replay, or have waited for somebody long gone. */
const goodForMs = 60_000
/** Commands remembered, so that one that comes twice is carried out once. */
const remembered = 1_000
/** How often drift is looked for, apart from changes. */
const reconcileMs = 5_000
/** What the server puts into messages that it takes from streams. */
const copyMarks = ['Nats-Stream', 'Nats-Stream-Source', 'Nats-Scheduler']
/** Why an instance did not obey: what it says may be others' text of any length, and must fit into an answer. */
const reasonBytes = 2_000

export class Agent {
  readonly #bus: Bus
  readonly #runner: ControlledRunner
  readonly #log: Logger
  /** Undefined while nobody made it who may. */
  #states: DesiredStates | undefined
  readonly #wanted = new Map<string, DesiredEntry>()
  readonly #answered = new Map<string, Promise<Ack[]>>()
  readonly #subscriptions = new Map<string, BusSubscription>()
  /** What became of each instance when its unit's latest revision was followed. */
  readonly #made = new Map<string, Made>()
  /** Highest fencing token seen, per unit. */
  readonly #tokens = new Map<string, number>()
  #stopWatching: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  /** The change of each unit that is under way. */
  readonly #converging = new Map<string, Promise<unknown>>()
  #stopped = false

  private constructor(bus: Bus, runner: ControlledRunner, states: DesiredStates | undefined, log: Logger) {
    this.#bus = bus
    this.#runner = runner
    this.#states = states
    this.#log = log
  }

  /** Reads what should be. @throws MyelinError JETSTREAM_DISABLED */
  static async open(bus: Bus, runner: ControlledRunner, log: Logger): Promise<Agent> {
    const states = await DesiredStates.open(bus).catch((error) => {
      if (!(error instanceof MyelinError) || error.code !== 'PERMISSION_DENIED') throw error
      log.info('there is no desired state yet, and this user may not make it: a controller does with its first command')
      return undefined
    })
    const agent = new Agent(bus, runner, states, log)
    for (const unit of runner.units()) await agent.read(unit)
    return agent
  }

  /** Reads what a unit should be. */
  async read(unit: string): Promise<void> {
    await this.#find()
    const entry = await this.#states?.get(this.#runner.siteOf(unit), unit)
    if (entry) this.#wanted.set(unit, entry)
  }

  /** What a unit should be, as far as anybody ever said. */
  wanted(unit: string): DesiredEntry | undefined {
    return this.#wanted.get(unit)
  }

  /** Listens, and keeps the units as they should be. */
  async start(): Promise<void> {
    for (const unit of this.#runner.units()) this.listenFor(unit)
    await this.#bus.flush()
    await this.#watch()
    this.#timer = setInterval(() => {
      void this.#find().catch((error) => this.#log.warn({ err: error }, 'desired state could not be looked for'))
      for (const unit of this.#runner.units()) void this.#converge(unit).catch((error) => this.#complain(unit, error))
    }, reconcileMs)
    this.#timer.unref()
  }

  async #watch(): Promise<void> {
    this.#stopWatching = await this.#states?.watch((entry) => {
      if (!this.#runner.units().includes(entry.unit) || entry.site !== this.#runner.siteOf(entry.unit)) return
      this.#wanted.set(entry.unit, entry)
      void this.#converge(entry.unit).catch((error) => this.#complain(entry.unit, error))
    })
  }

  /** Looks whether somebody made the bucket meanwhile. */
  async #find(): Promise<void> {
    if (this.#states || this.#stopped) return
    const states = await DesiredStates.find(this.#bus)
    if (!states || this.#states) return
    this.#states = states
    await this.#watch()
  }

  /** Listens to commands for a unit; for one that its runner took on later. */
  listenFor(unit: string): void {
    this.#subscriptions.set(
      unit,
      this.#bus.subscribe(commandSubject(this.#runner.siteOf(unit), unit, '*', '*' as Verb), (message) => {
        // the server publishes what a stream or consumer is told to, whoever made it: no controller spoke there
        if (copyMarks.some((mark) => message.headers?.has(mark)) || message.reply?.startsWith('$JS.')) {
          this.#log.warn({ unit, subject: message.subject }, `a command that came out of a stream is refused`)
          return
        }
        return this.#obey(unit, message.subject, message.data).then((acks) => {
          if (!message.reply || !this.#bus.connected) return
          for (const ack of acks) this.#bus.publish(message.reply, Buffer.from(JSON.stringify(ack)))
        })
      }),
    )
  }

  /** Hears nothing of a unit any more. */
  forget(unit: string): void {
    this.#subscriptions.get(unit)?.unsubscribe()
    for (const known of [this.#subscriptions, this.#wanted, this.#made, this.#tokens]) known.delete(unit)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    this.#stopWatching?.()
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
    await Promise.all(this.#converging.values())
  }

  async #obey(unit: string, subject: string, data: Uint8Array): Promise<Ack[]> {
    const [, site = '', , target = '', verb = ''] = subject.split('.')
    const instances = this.#runner
      .instances(unit)
      .filter(({ instance }) => target === everyInstance || target === instance)
    if (instances.length === 0 && verb !== 'scale' && verb !== 'reset') return []
    const parsed = Command.safeParse(readJson(data))
    const refusal = (error: MyelinError): Ack[] =>
      instances.map((instance) => answer(parsed.data?.id ?? '', site, instance, instance.state, error))
    if (!parsed.success || !(verbs as readonly string[]).includes(verb)) {
      return refusal(failure('INVALID_INPUT', `${subject}: not a command: ${parsed.error?.issues[0]?.message ?? verb}`))
    }
    const command = parsed.data
    const ageMs = Math.abs(Date.now() - command.at)
    if (ageMs > goodForMs) {
      return refusal(
        failure(
          'STALE_COMMAND',
          `${subject}: given ${Math.round(ageMs / 1_000)} s from now by this machine's clock: it is refused; if it is new, set the clocks right`,
        ),
      )
    }
    const highest = this.#tokens.get(unit) ?? 0
    if (command.token !== undefined && command.token < highest) {
      return refusal(
        failure('FENCED', `${subject}: another controller leads (token ${highest}, this one has ${command.token})`),
      )
    }
    if (command.token !== undefined) this.#tokens.set(unit, command.token)
    const key = `${command.id} ${subject}`
    let answered = this.#answered.get(key)
    if (!answered) {
      answered = this.#carryOut(site, unit, verb as Verb, command, instances)
      this.#answered.set(key, answered)
      if (this.#answered.size > remembered) this.#answered.delete(this.#answered.keys().next().value!)
    }
    return answered
  }

  async #carryOut(
    site: string,
    unit: string,
    verb: Verb,
    command: Command,
    instances: readonly Controlled[],
  ): Promise<Ack[]> {
    this.#log.info({ unit, verb, by: command.by, id: command.id }, `command: ${verb} ${unit}`)
    if (command.revision > 0) {
      const failed = await this.#follow(unit, command.revision).then(
        () => undefined,
        (error: unknown) => error,
      )
      const made = this.#made.get(unit)
      // what became of an earlier revision is no answer to this one
      if (!made || made.revision < command.revision) {
        const error = failed ?? failure('INTERNAL', `revision ${command.revision} of '${unit}' was not found`)
        return instances.map((instance) => answer(command.id, site, instance, instance.state, error))
      }
      return [...made.instances.values()].map(({ instance, from, error }) =>
        answer(command.id, site, instance, from, error),
      )
    }
    return Promise.all(
      instances.map(async (instance) => {
        const from = instance.state
        try {
          await act(instance, verb, command)
          return answer(command.id, site, instance, from)
        } catch (error) {
          return answer(command.id, site, instance, from, error)
        }
      }),
    )
  }

  /** Makes a unit what its desired state of a revision says. */
  async #follow(unit: string, revision: number): Promise<void> {
    if ((this.#wanted.get(unit)?.revision ?? 0) < revision) {
      await this.read(unit)
    }
    await this.#converge(unit)
  }

  /** One change of a unit after the other, so that none meets a half-made one; a slow unit holds up no other. */
  #converge(unit: string): Promise<void> {
    const done = (this.#converging.get(unit) ?? Promise.resolve()).then(() => this.#make(unit))
    this.#converging.set(
      unit,
      done.catch(() => undefined),
    )
    return done
  }

  async #make(unit: string): Promise<void> {
    const entry = this.#wanted.get(unit)
    if (!entry || this.#stopped) return
    const { desired, revision } = entry
    const fresh = (this.#made.get(unit)?.revision ?? 0) < revision
    const made: Made = fresh ? { revision, instances: new Map() } : this.#made.get(unit)!
    const note = (instance: Controlled, from: string, error?: unknown) => {
      if (fresh) made.instances.set(instance.instance, { instance, from, ...(error === undefined ? {} : { error }) })
    }
    const before = new Map(this.#runner.instances(unit).map((instance) => [instance, instance.state]))
    if (desired.token !== undefined && desired.token > (this.#tokens.get(unit) ?? 0))
      this.#tokens.set(unit, desired.token)
    let unscaled: unknown
    // told anew without a number, those of the composition come back; later it is not for desired state to count them
    const replicas = desired.replicas ?? (fresh ? this.#runner.replicasOf(unit) : before.size)
    if (replicas !== before.size) {
      await this.#runner.scale(unit, replicas).catch((error: unknown) => {
        unscaled = error
      })
    }
    const present = this.#runner.instances(unit)
    for (const [instance, from] of before) if (!present.includes(instance)) note(instance, from)
    const results = await Promise.allSettled(
      present.map(async (instance) => {
        const from = before.get(instance) ?? 'none'
        try {
          if (from === 'none' && instance.state === 'failed') throw unscaled // it tried and could not start
          await this.#bring(instance, desired, revision)
          note(instance, from)
        } catch (error) {
          note(instance, from, error)
          throw error
        }
      }),
    )
    this.#made.set(unit, made)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed ?? unscaled) throw failed?.reason ?? unscaled
  }

  async #bring(instance: Controlled, desired: Desired, revision: number): Promise<void> {
    // once per revision: what one instance was told by itself since then stays, as during a rollout
    if (instance.revision >= revision) return
    const configId = configIdOf(desired)
    if (configId !== instance.configId)
      await instance.configure(desired.config ?? {}, { exact: desired.exact, configId })
    if (desired.state === 'paused') await instance.pause()
    else if (desired.state === 'stopped') await instance.stop()
    else await instance.resume()
    instance.followed(revision, desired.logLevel)
  }

  #complain(unit: string, error: unknown): void {
    this.#log.error({ unit, err: error }, `unit '${unit}' could not be made what it should be: ${messageOf(error)}`)
  }
}

/** Which configuration desired state has; one without an id is of version 0.1.0. */
export const configIdOf = ({ config, configId }: Desired): string =>
  config === undefined ? '' : (configId ?? JSON.stringify(config))

/** Carries out a command on one instance. */
async function act(instance: Controlled, verb: Verb, { args, for: coming }: Command): Promise<void> {
  switch (verb) {
    case 'start':
    case 'resume':
      return instance.resume()
    case 'pause':
      return instance.pause()
    case 'drain':
    case 'stop':
      return instance.stop()
    case 'restart':
      return instance.restart()
    case 'configure':
      return instance.configure(args.config ?? {}, { exact: args.exact, configId: 'its own' })
    case 'check':
      if (coming === 'pause' && instance.state === 'stopped') {
        const what = `${instance.unit}.${instance.instance}`
        throw failure('ILLEGAL_TRANSITION', `${what} is stopped and cannot be paused; start it first`)
      }
      return coming === undefined || coming === 'configure'
        ? instance.checkConfig(args.config ?? {}, args.exact)
        : undefined
    case 'loglevel':
      instance.followed(instance.revision, args.level)
      return
    case 'reset':
      await instance.configure({}, { configId: '' })
      return instance.resume()
    case 'scale':
      throw failure('INVALID_INPUT', 'scale is for a unit, not for one instance')
  }
}

function answer(id: string, site: string, instance: Controlled, from: string, error?: unknown): Ack {
  return {
    id,
    site,
    unit: instance.unit,
    instance: instance.instance,
    ok: error === undefined,
    from,
    to: instance.state,
    revision: instance.revision,
    ...(error === undefined
      ? {}
      : {
          error: {
            code: error instanceof MyelinError ? error.code : 'INTERNAL',
            message: boundedText(messageOf(error), reasonBytes),
          },
        }),
  }
}

function readJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString())
  } catch {
    return undefined
  }
}
