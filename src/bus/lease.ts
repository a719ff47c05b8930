// Who leads: a lease in a key-value bucket, renewed while its holder lives, with a fencing token that only grows, also
// when the bucket was removed and made anew. No clocks are compared: a candidate takes over when the lease has not changed
// for its whole term by the candidate's own watch, and a holder that cannot renew steps down before that.
import { z } from 'zod'
import { type Bucket, bucket } from './bucket.ts'
import type { Bus } from './bus.ts'
import { hasCode } from './errors.ts'
import { streamIdentity } from './jetstream/identity.ts'
import { nameOf } from './names.ts'
import { timerMs } from './timer.ts'

/** What a lease is called, who wants it, and what to do with it. */
export interface LeaseOptions {
  readonly name: string
  /** Who wants it, for people to read. */
  readonly holder: string
  /** How long it lasts without renewal. Default 2,000 ms: a killed holder is replaced in under 3 s. */
  readonly termMs?: number
  /** Called when it is had; work under it until the signal aborts, and show the token with every command. */
  readonly onLead: (token: number, signal: AbortSignal) => void
}

interface Mine {
  readonly token: number
  revision: number
  renewedAt: number
  readonly controller: AbortController
}

const Held = z.object({
  holder: z.string(),
  /** The fencing token. */
  token: z.number(),
})
type Held = z.infer<typeof Held>

/** Share of a term for which a holder believes that it leads without having renewed. */
const heldFor = 0.8

/**
 * A lease that one of several candidates has at a time, with a fencing token that only grows.
 * @example
 * const lease = await Lease.stand(bus, {
 *   name: 'nightly',
 *   holder: hostname(),
 *   onLead: (token, signal) => run(token, signal),
 * })
 * await lease.stop() // the next one need not wait
 */
export class Lease {
  readonly #bus: Bus
  readonly #bucket: Bucket<Held>
  readonly #options: LeaseOptions
  readonly #termMs: number
  #seen: { revision: number; at: number } | undefined
  #mine: Mine | undefined
  #timer: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #underWay: Promise<void> | undefined
  #stopped = false

  private constructor(bus: Bus, bucket: Bucket<Held>, options: LeaseOptions) {
    this.#bus = bus
    this.#bucket = bucket
    this.#options = options
    this.#termMs = options.termMs ?? 2_000
  }

  /** Stands as a candidate. @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH */
  static async stand(bus: Bus, options: LeaseOptions): Promise<Lease> {
    const lease = new Lease(bus, await bucket(bus, nameOf('bucket', 'LEASES'), { schema: Held }), options)
    await lease.#turn()
    lease.#timer = setInterval(() => void lease.#turn(), timerMs(lease.#termMs / 5))
    return lease
  }

  /** The fencing token while it leads; looks at the time itself, because timers of a process that was stopped are late. */
  get token(): number | undefined {
    this.#check()
    return this.#mine?.token
  }

  /** Gives the lease back, so that the next one need not wait. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    // a renewal under way would take the lease after it was given back
    await this.#underWay
    const mine = this.#mine
    this.#lose()
    if (mine) await this.#write({ holder: '', token: mine.token }, mine.revision).catch(() => undefined)
  }

  async #turn(): Promise<void> {
    if (this.#stopped) return
    // a holder that is cut off must know it before anybody else can take over, also while a renewal hangs
    this.#check()
    this.#underWay ??= (async () => {
      try {
        if (this.#mine) await this.#renew(this.#mine)
        else await this.#candidate()
      } catch {
        // cut off, or somebody else was faster: the next turn tells
      }
      this.#underWay = undefined
    })()
    await this.#underWay
  }

  /** Steps down in time: a fifth of a term before anybody else can take over. */
  #check(): void {
    const mine = this.#mine
    if (mine && performance.now() - mine.renewedAt >= this.#termMs * heldFor) this.#lose()
  }

  /** The turns are too far apart to meet that moment. */
  #watch(mine: Mine): void {
    clearTimeout(this.#end)
    const leftMs = mine.renewedAt + this.#termMs * heldFor - performance.now()
    this.#end = setTimeout(() => this.#check(), timerMs(Math.max(0, Math.ceil(leftMs))))
    this.#end.unref()
  }

  async #renew(mine: Mine): Promise<void> {
    const startedAt = performance.now()
    try {
      mine.revision = await this.#write({ holder: this.#options.holder, token: mine.token }, mine.revision)
      mine.renewedAt = startedAt // of no use to one that was lost meanwhile
      if (mine === this.#mine) this.#watch(mine)
    } catch (error) {
      if (hasCode(error, 'WRONG_SEQUENCE')) this.#lose()
      throw error
    }
  }

  async #candidate(): Promise<void> {
    const { value: held, revision } = await this.#bucket.get(this.#options.name, { timeoutMs: this.#termMs })
    const now = performance.now()
    if (this.#seen?.revision !== revision) this.#seen = { revision, at: now }
    const free = !held || held.holder === '' || now - this.#seen!.at > this.#termMs
    if (!free || this.#stopped) return
    // the token comes of the revision that this very write gets, which is known afterwards: a second write puts it down,
    // and fails when the bucket was made anew in between
    const taken = await this.#write({ holder: this.#options.holder, token: 0 }, revision)
    const token = await this.#tokenOf(taken)
    const written = await this.#write({ holder: this.#options.holder, token }, taken)
    if (this.#stopped || performance.now() - now >= this.#termMs * heldFor) return // so late that it may be another's
    const controller = new AbortController()
    this.#mine = { token, revision: written, renewedAt: now, controller }
    this.#watch(this.#mine)
    try {
      this.#options.onLead(token, controller.signal)
    } catch (error) {
      this.#lose() // who cannot lead must not keep others from it
      throw error
    }
  }

  /**
   * Revisions grow, and begin at 1 again in a bucket that was made anew. So the moment when it was made, unix ms, is added:
   * nobody writes a lease a thousand times a second, and so every token of a later bucket is higher. A safe integer.
   */
  async #tokenOf(revision: number): Promise<number> {
    const { created } = await streamIdentity(this.#bus, this.#bucket.stream)
    return Date.parse(created) + revision
  }

  #write(held: Held, after: number): Promise<number> {
    return this.#bucket.update(this.#options.name, held, after, { timeoutMs: this.#termMs })
  }

  #lose(): void {
    clearTimeout(this.#end)
    this.#mine?.controller.abort()
    this.#mine = undefined
    this.#seen = undefined
  }
}
