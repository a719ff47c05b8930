// One question to whoever hears it, and their answers until there are enough, nothing more comes, or it is too late.
import type { Msg } from '@nats-io/nats-core'
import type { Bus } from './bus.ts'
import type { MyelinError } from './errors.ts'
import { PendingReply } from './requests.ts'
import { timerMs } from './timer.ts'

/** When to stop taking answers; see {@link gather}. */
export interface GatherOptions {
  /** Takes an answer; true: that is enough. */
  readonly until: (message: Msg) => boolean | undefined
  /** When the whole is over, by `now()`. */
  readonly deadline: number
  /** It is over when no further answer came for so long after the last one. */
  readonly quietMs?: number
  readonly headerLines?: string
}

/** A question under way. */
export class Gathering extends PendingReply {
  readonly #options: GatherOptions
  readonly #end = Promise.withResolvers<'enough' | 'quiet' | 'late'>()
  #quiet: NodeJS.Timeout | undefined

  constructor(subject: string, options: GatherOptions) {
    super(subject, options.deadline)
    this.#options = options
  }

  /**
   * Resolves with the reason why no more answers are taken.
   * @throws MyelinError NO_RESPONDERS, CANCELLED, DISCONNECTED, CLOSED
   */
  get ended(): Promise<'enough' | 'quiet' | 'late'> {
    return this.#end.promise
  }

  onReply(message: Msg): void {
    const { until, quietMs } = this.#options
    clearTimeout(this.#quiet)
    if (until(message)) this.end('enough')
    else if (quietMs !== undefined) this.#quiet = setTimeout(() => this.end('quiet'), timerMs(quietMs))
  }

  onFailure(error: MyelinError): void {
    clearTimeout(this.#quiet)
    if (error.code === 'DEADLINE_EXCEEDED') this.#end.resolve('late')
    else this.#end.reject(error)
  }

  /** Takes no more answers. */
  end(reason: 'enough' | 'quiet' | 'late' = 'enough'): void {
    clearTimeout(this.#quiet)
    this.finish()
    this.#end.resolve(reason)
  }
}

/**
 * Asks everybody on a subject.
 * @throws MyelinError OVERLOADED, PAYLOAD_TOO_LARGE, DISCONNECTED
 * @example
 * const names: string[] = []
 * const asked = gather(bus, 'who.is.there', new Uint8Array(0), {
 *   until: ({ data }) => names.push(data.toString()) === 3,
 *   deadline: now() + 1_000,
 * })
 * await asked.ended // enough, quiet or late
 */
export function gather(bus: Bus, subject: string, data: Uint8Array, options: GatherOptions): Gathering {
  const gathering = new Gathering(subject, options)
  bus.start(gathering, data, options.headerLines ?? '')
  return gathering
}
