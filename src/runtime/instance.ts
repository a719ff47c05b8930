// One running copy of a unit as its runner sees it: started, supervised, paused and resumed, configured, stopped. The same
// for copies in this process and in processes of their own.
import { isDeepStrictEqual } from 'node:util'
import { failure, MyelinError, messageOf } from '../bus/internal.ts'
import type { ConfigureAs } from '../control/index.ts'
import type { CheckResult, UnitState } from '../heartbeat/index.ts'
import type { Logger, UnitMetrics, Vitals } from '../unit/internal.ts'

/** `failed` from anywhere; a failed instance is restarted with backoff until it is given up. */
export type InstanceState = Exclude<UnitState, 'busy' | 'left'>

/** What is known of an instance. */
export interface InstanceStatus {
  readonly unit: string
  readonly instance: string
  readonly kind: string
  readonly state: InstanceState
  /** The process it runs in. */
  readonly pid: number
  readonly restarts: number
  readonly stats: Readonly<Record<string, number>>
  /** Its work came to its own end. */
  readonly finished: boolean
  /** Revision of the desired state it follows; 0: none was set. */
  readonly revision: number
  /** Why it failed last. */
  readonly error?: string
  /** Peak resident memory of a process of its own, in bytes. */
  readonly maxRssBytes?: number
}

/** One run of an instance: from its start to its end. */
export interface UnitRun {
  readonly kind: string
  readonly version: string
  /** As its beats say. */
  readonly startedAt: number
  readonly pid: number
  /** It beats by itself, from its own process. */
  readonly beats: boolean
  stats(): Record<string, number>
  vitals(): Vitals
  metrics(): UnitMetrics
  checks(): readonly CheckResult[]
  maxRssBytes?(): number | undefined
  /** Tells it which desired state it runs, and how much to log. */
  followed?(revision: number, logLevel: string | undefined): void
  /** Resolves when its work is done; never for units without an end. */
  readonly finished: Promise<void>
  /** Resolves with the reason when it failed after it was ready. */
  readonly failed: Promise<MyelinError>
  /**
   * `goodbye`: it leaves; else it will be back. Resolves when it is gone, with the reason when it had to be killed or
   * failed at it; rejects when it may still work.
   */
  drain(goodbye: boolean): Promise<MyelinError | undefined>
}

export interface InstanceOptions {
  readonly unit: string
  readonly instance: string
  readonly config: Readonly<Record<string, unknown>>
  /** Keys that win over desired state of before its start. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined
  /** `givenUp` aborts when nobody wants it any more before it stands. */
  readonly start: (
    config: Readonly<Record<string, unknown>>,
    revision: number,
    givenUp: AbortSignal,
  ) => Promise<UnitRun>
  /** @throws MyelinError INVALID_CONFIG */
  readonly checkConfig: (config: Readonly<Record<string, unknown>>) => Promise<void>
  readonly log: Logger
  readonly onChange: (status: InstanceStatus) => void
}

// Five deaths within half a minute are a loop that restarting does not break.
const crashLoop = { deaths: 5, withinMs: 30_000 }
const backoffMs = { from: 200, to: 5_000 }

/** Starts an instance, starts it again when it fails, does what it is told, and stops it in the end. */
export class Instance {
  readonly unit: string
  readonly instance: string
  readonly #options: InstanceOptions
  readonly #finished = Promise.withResolvers<void>()
  readonly #gaveUp = Promise.withResolvers<MyelinError>()
  #config: Readonly<Record<string, unknown>>
  #revision = 0
  #configId = ''
  #logLevel: string | undefined
  #run: UnitRun | undefined
  #state: InstanceState = 'starting'
  #deaths: number[] = []
  #restarts = 0
  #error: string | undefined
  #done = false
  #lastStats: Record<string, number> = {}
  #kind = ''
  #maxRssBytes: number | undefined
  #elsewhere = false
  #version = ''
  #startedAt = Date.now()
  /** It failed and is about to be started again. */
  #restarting = false
  /** What is being done; the next thing waits for it. */
  #busy: Promise<unknown> = Promise.resolve()
  #wake: (() => void) | undefined
  #giveUp: (() => void) | undefined
  #wanted: 'running' | 'paused' | 'stopped' = 'running'

  constructor(options: InstanceOptions) {
    this.unit = options.unit
    this.instance = options.instance
    this.#options = options
    this.#config = options.config
  }

  /** Resolves when its work came to its own end. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }
  /** Resolves when restarting it was given up. */
  get gaveUp(): Promise<MyelinError> {
    return this.#gaveUp.promise
  }
  get state(): InstanceState {
    return this.#state
  }
  /** Why it failed last, until it is told or tried otherwise. */
  get reason(): string | undefined {
    return this.#error
  }
  get revision(): number {
    return this.#revision
  }
  /** The configuration it runs, as given. */
  get config(): Readonly<Record<string, unknown>> {
    return this.#config
  }
  /** The configuration that its composition and flags gave. */
  get given(): Readonly<Record<string, unknown>> {
    return this.#options.config
  }
  /** Which configuration of desired state that is; empty: that of the composition. */
  get configId(): string {
    return this.#configId
  }
  get run(): UnitRun | undefined {
    return this.#run
  }
  /** It lives in a process of its own. */
  get elsewhere(): boolean {
    return this.#elsewhere
  }
  get restarting(): boolean {
    return this.#restarting
  }
  /** What it is and when it was started last, alive or not. */
  get identity(): { readonly kind: string; readonly version: string; readonly startedAt: number } {
    return { kind: this.#kind, version: this.#version, startedAt: this.#startedAt }
  }

  status(): InstanceStatus {
    if (this.#run) this.#lastStats = this.#run.stats()
    this.#maxRssBytes = this.#run?.maxRssBytes?.() ?? this.#maxRssBytes
    const maxRssBytes = this.#maxRssBytes
    return {
      unit: this.unit,
      instance: this.instance,
      kind: this.#kind,
      state: this.#state,
      pid: this.#run?.pid ?? 0,
      restarts: this.#restarts,
      stats: this.#lastStats,
      finished: this.#done,
      revision: this.#revision,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(maxRssBytes === undefined ? {} : { maxRssBytes }),
    }
  }

  /** The first start, whose failure is the caller's to know. @throws MyelinError UNIT_FAILED, INVALID_CONFIG, … */
  start(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#begin()
      } catch (error) {
        this.#change('failed', error)
        if (error instanceof MyelinError) throw error
        throw failure('UNIT_FAILED', `unit '${this.unit}' did not start: ${messageOf(error)}`, { cause: error })
      }
    })
  }

  /** Begins without working: what it was told before its runner started. */
  rest(state: 'paused' | 'stopped'): Promise<void> {
    return this.#inTurn(async () => {
      this.#wanted = state
      this.#change(state)
    })
  }

  /** Stops working and stays known. Does nothing when it is paused. */
  pause(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state === 'paused') return
      this.#refuseWhen('stopped', 'paused')
      this.#wanted = 'paused'
      const killed = await this.#end(false)
      this.#change('paused', killed)
      if (killed) throw killed
    })
  }

  /** Works again after a pause, a stop, or when it was given up. */
  resume(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state === 'ready' || this.#state === 'starting') return
      this.#deaths = []
      await this.#beginOrFail()
    })
  }

  restart(): Promise<void> {
    return this.#inTurn(async () => {
      const killed = await this.#end(false)
      this.#deaths = []
      await this.#beginOrFail()
      this.#restarts += 1
      if (killed) throw killed // it runs again all the same
    })
  }

  /** Runs with another configuration from now on; one that does not fit changes nothing. @throws MyelinError INVALID_CONFIG */
  configure(config: Readonly<Record<string, unknown>>, { exact, configId = '' }: ConfigureAs = {}): Promise<void> {
    return this.#inTurn(async () => {
      const merged = this.#merged(config, exact)
      if (isDeepStrictEqual(merged, this.#config)) {
        this.#configId = configId
        return
      }
      await this.#options.checkConfig(merged)
      this.#config = merged
      this.#configId = configId
      if (this.#wanted !== 'running') return // it will start with it
      const killed = await this.#end(false)
      await this.#beginOrFail()
      if (killed) throw killed // it runs with it all the same
    })
  }

  /**
   * The configuration to start with, when it was told before its runner started; flags say otherwise on purpose.
   * @throws MyelinError INVALID_CONFIG
   */
  async preset(config: Readonly<Record<string, unknown>>, { exact, configId = '' }: ConfigureAs = {}): Promise<void> {
    const merged = { ...this.#merged(config, exact), ...this.#options.flags }
    await this.#options.checkConfig(merged)
    this.#config = merged
    this.#configId = configId
  }

  /** Whether a configuration would fit. @throws MyelinError INVALID_CONFIG */
  checkConfig(config: Readonly<Record<string, unknown>>, exact?: boolean): Promise<void> {
    return this.#options.checkConfig(this.#merged(config, exact))
  }

  #merged(config: Readonly<Record<string, unknown>>, exact: boolean | undefined): Readonly<Record<string, unknown>> {
    return exact ? config : { ...this.#options.config, ...config }
  }

  /** Which desired state it follows, and how much it logs. */
  followed(revision: number, logLevel: string | undefined): void {
    this.#revision = revision
    this.#logLevel = logLevel
    this.#run?.followed?.(revision, logLevel)
  }

  /** @throws MyelinError UNIT_FAILED when it did not drain; it is not asked again then */
  stop(): Promise<void> {
    this.#wanted = 'stopped'
    this.#wake?.()
    this.#giveUp?.()
    return this.#inTurn(async () => {
      this.#wanted = 'stopped'
      if (this.#state === 'stopped') return
      const killed = await this.#end(true)
      this.#change(killed ? 'failed' : 'stopped', killed)
      if (killed) throw killed
    })
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#busy.then(work)
    this.#busy = done.catch(() => undefined)
    return done
  }

  #refuseWhen(state: InstanceState, verb: string): void {
    if (this.#state === state) {
      throw failure(
        'ILLEGAL_TRANSITION',
        `${this.unit}.${this.instance} is ${state} and cannot be ${verb}; start it first`,
      )
    }
  }

  /** What does not start is told as failed, and tried again when it is told to. */
  async #beginOrFail(): Promise<void> {
    try {
      await this.#begin()
    } catch (error) {
      this.#change('failed', error)
      throw error
    }
  }

  async #begin(): Promise<void> {
    this.#wanted = 'running'
    this.#change('starting')
    const givenUp = new AbortController()
    this.#giveUp = () => givenUp.abort()
    const run = await this.#options.start(this.#config, this.#revision, givenUp.signal).finally(() => {
      this.#giveUp = undefined
    })
    this.#run = run
    this.#kind = run.kind
    this.#version = run.version
    this.#elsewhere = run.beats
    this.#startedAt = run.startedAt
    if (this.#logLevel !== undefined) run.followed?.(this.#revision, this.#logLevel)
    this.#change('ready')
    void run.finished.then(() => {
      this.#done = true
      this.#finished.resolve()
    })
    void run.failed.then((error) => {
      if (this.#run === run) void this.#died(error)
    })
  }

  /** Resolves when it is gone, with the reason when it did not go by itself. @throws when it may still work */
  async #end(goodbye: boolean): Promise<MyelinError | undefined> {
    const run = this.#run
    if (!run) return undefined
    this.#change('draining')
    this.#lastStats = run.stats()
    this.#run = undefined
    try {
      return await run.drain(goodbye)
    } catch (error) {
      this.#change('failed', error)
      throw error
    }
  }

  async #died(error: MyelinError): Promise<void> {
    this.#lastStats = this.#run?.stats() ?? {}
    this.#run = undefined
    this.#restarting = true
    try {
      await this.#startAgain(error)
    } finally {
      this.#restarting = false
    }
  }

  /** Until it runs, is told otherwise, or is given up. */
  async #startAgain(error: MyelinError): Promise<void> {
    while (this.#wanted === 'running') {
      this.#change('failed', error)
      const now = performance.now()
      this.#deaths = [...this.#deaths.filter((at) => now - at < crashLoop.withinMs), now]
      const { log } = this.#options
      if (this.#deaths.length >= crashLoop.deaths) {
        log.error(
          { unit: this.unit, code: error.code, err: error },
          `unit '${this.unit}' failed ${crashLoop.deaths} times in ${crashLoop.withinMs / 1_000} s and is given up: ${error.message}`,
        )
        this.#gaveUp.resolve(error)
        return
      }
      const waitMs = Math.min(backoffMs.from * 2 ** (this.#deaths.length - 1), backoffMs.to)
      log.warn(
        { unit: this.unit, code: error.code, waitMs, err: error },
        `unit '${this.unit}' failed and is restarted: ${error.message}`,
      )
      await this.#sleep(waitMs)
      try {
        const restarted = await this.#inTurn(async () => {
          // meanwhile it may have been told otherwise, or started by a command
          if (this.#wanted !== 'running' || this.#run) return true
          await this.#begin()
          this.#restarts += 1
          return true
        })
        if (restarted) return
      } catch (caught) {
        error = caught instanceof MyelinError ? caught : failure('UNIT_FAILED', messageOf(caught), { cause: caught })
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #change(state: InstanceState, error?: unknown): void {
    this.#state = state
    this.#error = error === undefined ? undefined : messageOf(error)
    try {
      this.#options.onChange(this.status())
    } catch (thrown) {
      // whoever listens must not make a failure of a start that was none
      this.#options.log.error({ err: thrown }, `onChange threw: ${messageOf(thrown)}`)
    }
  }
}
