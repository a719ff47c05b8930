// One running copy of a unit as its host sees it, and the supervision that both kinds of copies share.
import { failure, MyelinError, messageOf } from '../bus/index.ts'
import type { Logger } from '../unit/index.ts'

/** `failed` from anywhere; a failed instance is restarted with backoff until it is given up. */
export type InstanceState = 'starting' | 'ready' | 'draining' | 'stopped' | 'failed'

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
  /** Why it failed last. */
  readonly error?: string
  /** Peak resident memory of a process of its own, in bytes. */
  readonly maxRssBytes?: number
}

/** One life of an instance: from start to its end. */
export interface Life {
  readonly kind: string
  readonly pid: number
  stats(): Record<string, number>
  maxRssBytes?(): number | undefined
  /** Resolves when its work is done; never for units without an end. */
  readonly finished: Promise<void>
  /** Resolves with the reason when it failed after it was ready. */
  readonly failed: Promise<MyelinError>
  drain(): Promise<void>
}

// Five deaths within half a minute are a loop that restarting does not break.
const crashLoop = { deaths: 5, withinMs: 30_000 }
const backoffMs = { from: 200, to: 5_000 }

/** Starts an instance, starts it again when it fails, and stops it in the end. */
export class Instance {
  readonly unit: string
  readonly instance: string
  readonly #start: () => Promise<Life>
  readonly #log: Logger
  readonly #onChange: (status: InstanceStatus) => void
  readonly #finished = Promise.withResolvers<void>()
  readonly #gaveUp = Promise.withResolvers<MyelinError>()
  #life: Life | undefined
  #state: InstanceState = 'starting'
  #deaths: number[] = []
  #restarts = 0
  #error: string | undefined
  #done = false
  #lastStats: Record<string, number> = {}
  #stopping: Promise<void> | undefined
  #wake: (() => void) | undefined

  constructor(
    unit: string,
    instance: string,
    start: () => Promise<Life>,
    log: Logger,
    onChange: (status: InstanceStatus) => void,
  ) {
    this.unit = unit
    this.instance = instance
    this.#start = start
    this.#log = log
    this.#onChange = onChange
  }

  /** Resolves when its work came to its own end. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }
  /** Resolves when restarting it was given up. */
  get gaveUp(): Promise<MyelinError> {
    return this.#gaveUp.promise
  }

  status(): InstanceStatus {
    if (this.#life) this.#lastStats = this.#life.stats()
    const maxRssBytes = this.#life?.maxRssBytes?.()
    return {
      unit: this.unit,
      instance: this.instance,
      kind: this.#life?.kind ?? '',
      state: this.#state,
      pid: this.#life?.pid ?? 0,
      restarts: this.#restarts,
      stats: this.#lastStats,
      finished: this.#done,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(maxRssBytes === undefined ? {} : { maxRssBytes }),
    }
  }

  /** The first start, whose failure is the caller's to know. @throws MyelinError UNIT_FAILED, INVALID_CONFIG, … */
  async start(): Promise<void> {
    try {
      this.#live(await this.#start())
    } catch (error) {
      this.#change('failed', error)
      if (error instanceof MyelinError) throw error
      throw failure('UNIT_FAILED', `unit '${this.unit}' did not start: ${messageOf(error)}`, { cause: error })
    }
  }

  #live(life: Life): void {
    this.#life = life
    if (this.#stopping) {
      void life.drain().catch((error) => this.#change('failed', error)) // asked to stop while it started
      return
    }
    this.#change('ready')
    void life.finished.then(() => {
      this.#done = true
      this.#finished.resolve()
    })
    void life.failed.then((error) => this.#died(error))
  }

  async #died(error: MyelinError): Promise<void> {
    this.#lastStats = this.#life?.stats() ?? {}
    this.#life = undefined
    while (!this.#stopping) {
      this.#change('failed', error)
      const now = Date.now()
      this.#deaths = [...this.#deaths.filter((at) => now - at < crashLoop.withinMs), now]
      if (this.#deaths.length >= crashLoop.deaths) {
        this.#log.error(
          { unit: this.unit, code: error.code },
          `unit '${this.unit}' failed ${crashLoop.deaths} times in ${crashLoop.withinMs / 1_000} s and is given up: ${error.message}`,
        )
        this.#gaveUp.resolve(error)
        return
      }
      const waitMs = Math.min(backoffMs.from * 2 ** (this.#deaths.length - 1), backoffMs.to)
      this.#log.warn(
        { unit: this.unit, code: error.code, waitMs },
        `unit '${this.unit}' failed and is restarted: ${error.message}`,
      )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      if (this.#stopping) return
      this.#change('starting')
      try {
        const life = await this.#start()
        this.#restarts += 1
        this.#live(life)
        return
      } catch (caught) {
        error = caught instanceof MyelinError ? caught : failure('UNIT_FAILED', messageOf(caught), { cause: caught })
      }
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.#wake?.()
      if (!this.#life) {
        this.#change('stopped')
        return
      }
      this.#change('draining')
      try {
        await this.#life.drain()
        this.#change('stopped')
      } catch (error) {
        this.#change('failed', error)
      }
    })()
    return this.#stopping
  }

  #change(state: InstanceState, error?: unknown): void {
    this.#state = state
    this.#error = error === undefined ? undefined : messageOf(error)
    this.#onChange(this.status())
  }
}
