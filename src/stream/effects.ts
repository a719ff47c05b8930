// Side effects of a program: jobs, calls, anything outside. At least once: one is started for every value, tried again
// until it succeeds, and a checkpoint moves past an input only when all its effects succeeded. After a crash the effects
// since the last checkpoint run again; give them an id by which the other end tells what it has already.
import { setMaxListeners } from 'node:events'
import { type Bus, backoff, inTrace, MyelinError, messageOf, sleep, type TraceContext } from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { within } from './waits.ts'

/** What became of an effect; `duplicate`: the other end had it already. */
export interface EffectOutcome {
  readonly duplicate?: boolean
}

/** Something to be done outside for every value of a side output. */
export interface Effect<T> {
  readonly name: string
  /**
   * Called once at start; gives back what to do for each value. `id` is the same whenever the same value comes from the
   * same place of the input: a message id by which the other end can tell what it has already. `signal` is aborted when
   * nobody waits any more: after a minute, when the try counts as failed, and when the processor stops. `trace` is that
   * of the message which alone led to this value, if there is one.
   *
   * What rejects is tried again, except with INVALID_INPUT, INVALID_OPTION, MALFORMED_PAYLOAD or PAYLOAD_TOO_LARGE: these say that the
   * value can never be taken; its message goes to the error output.
   */
  open(host: {
    bus: Bus
    log: Logger
  }): (
    value: T,
    id: string,
    signal: AbortSignal,
    trace?: TraceContext | undefined,
  ) => Promise<EffectOutcome | undefined>
}

/** An effect of a program; its values' type was checked where it was attached. */
export type EffectPlan = Effect<never>

// These say that the value can never be taken; anything else says that the other end cannot take it now.
const rejecting = new Set(['INVALID_INPUT', 'INVALID_OPTION', 'MALFORMED_PAYLOAD', 'PAYLOAD_TOO_LARGE'])
const maxInFlight = 256
/** One try that is not back by then has failed. */
const tryMs = 60_000

/** The message that a value came from. */
export interface Origin {
  readonly sequence: number
  readonly subject: string
  readonly data: Uint8Array
}

/** Takes what an effect rejected; resolves when that is stored. */
type OnRejected = (error: unknown, origin: Origin | undefined, id: string) => Promise<void>

/** The effects under way: bounded, repeated until they succeed. */
export class Effects {
  readonly #run: readonly ReturnType<EffectPlan['open']>[]
  readonly #names: readonly string[]
  readonly #log: Logger
  readonly #underWay = new Set<Promise<void>>()
  readonly #onRejected: OnRejected
  readonly #stop = new AbortController()
  #warned = false
  done = 0
  duplicates = 0

  constructor(effects: readonly EffectPlan[], host: { bus: Bus; log: Logger }, onRejected: OnRejected) {
    // one listener for each effect under way
    setMaxListeners(0, this.#stop.signal)
    this.#run = effects.map((effect) => effect.open(host))
    this.#names = effects.map((effect) => effect.name)
    this.#log = host.log
    this.#onRejected = onRejected
  }

  /** `origin`: the message that it came from, for the error output. Resolves when it succeeded. */
  start(effect: number, value: unknown, id: string, origin?: Origin, trace?: TraceContext): Promise<void> {
    const promise = this.#try(effect, value as never, id, origin, trace).finally(() => this.#underWay.delete(promise))
    this.#underWay.add(promise)
    return promise
  }

  /** Undefined while there is room, else a promise to await before starting more. */
  ready(): Promise<void> | undefined {
    return this.#underWay.size < maxInFlight ? undefined : Promise.race(this.#underWay)
  }

  /** Resolves when all effects started so far have succeeded. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  /** No more tries; what has not succeeded will be started again by the next instance. */
  stop(): void {
    this.#stop.abort()
  }

  async #try(
    effect: number,
    value: never,
    id: string,
    origin: Origin | undefined,
    trace: TraceContext | undefined,
  ): Promise<void> {
    const { signal } = this.#stop
    const nextMs = backoff(100, 5_000)
    for (;;) {
      try {
        const outcome = await within(this.#names[effect]!, tryMs, signal, (signal) =>
          inTrace(trace, () => this.#run[effect]!(value, id, signal, trace)),
        )
        this.done += 1
        if (outcome?.duplicate) this.duplicates += 1
        this.#warned = false
        return
      } catch (error) {
        if (error instanceof MyelinError && rejecting.has(error.code)) return this.#onRejected(error, origin, id)
        // a checkpoint waits for this one for ever: after a stop that is what it should do
        if (signal.aborted) return new Promise<never>(() => undefined)
        if (!this.#warned)
          this.#log.warn({ err: error }, `${this.#names[effect]} fails and is tried again: ${messageOf(error)}`)
        this.#warned = true
      }
      await sleep(nextMs(), signal)
    }
  }
}
