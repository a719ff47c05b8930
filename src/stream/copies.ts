// Copies that the server makes for a processor (its input of several sources or partitions, its views of several
// partitions) can stand still after a server died while the server itself says that nothing is left to copy. So the last
// message of each origin is looked for in the copy; what stands still counts as lag, is reported, and begun again.
// Source: `Nats-Stream-Source`, the header of what was copied: "<origin> <its sequence there> …" (ADR-31, nats-server).
import { type Bus, lastMessage, messageOf, now, renewSource, type StoredMessage, streamInfo } from '../bus/internal.ts'
import type { HealthCheck, Logger } from '../unit/internal.ts'

/** One stream that the server copies into another. */
export interface Copy {
  readonly stream: string
  readonly origin: string
  /** What is copied of the origin. */
  readonly subject: string
  /** Where the copy has a message of the origin, or a later one of it and of no other origin. */
  readonly copied: (subject: string) => string
  /** The copy always keeps the last message of the origin, also when it is cut. */
  readonly keepsLast: boolean
  /** Makes sure that the server has the order to copy. */
  readonly ensure: () => Promise<unknown>
}

/** What is known of a copy that stands still. */
export interface CopyStatus {
  readonly stream: string
  readonly origin: string
  readonly behind: number
  readonly stillMs: number
}

interface Watched {
  readonly copy: Copy
  /** The origin's last message when it was looked at, which the copy did not have. */
  wanted: number
  position: number
  lag: number
  since: number
  behind: number
  healedAt: number
  reported: boolean
}

const everyMs = 2_000
const stalledMs = 5_000
const healAfterMs = 8_000
const healEveryMs = 15_000

export class Copies {
  readonly #bus: Bus
  readonly #log: Logger
  readonly #watched: readonly Watched[]
  readonly #timer: NodeJS.Timeout | undefined
  #looking = false
  /** @param mine whether this instance is the one that looks */
  constructor(bus: Bus, log: Logger, copies: readonly Copy[], mine: () => boolean) {
    this.#bus = bus
    this.#log = log
    const fresh = { wanted: 0, position: 0, lag: 0, since: 0, behind: 0, healedAt: Number.NEGATIVE_INFINITY }
    this.#watched = copies.map((copy) => ({ copy, ...fresh, reported: false }))
    if (copies.length > 0) this.#timer = setInterval(() => void this.#lookAtAll(mine()), everyMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Messages that wait to be copied where nothing moves. */
  get lag(): number {
    return this.#watched.reduce((sum, { behind }) => sum + behind, 0)
  }

  status(): CopyStatus[] {
    return this.#watched
      .filter(({ behind }) => behind > 0)
      .map(({ copy: { stream, origin }, behind, since }) => ({
        stream,
        origin,
        behind,
        stillMs: Math.round(now() - since),
      }))
  }

  get checks(): Record<string, HealthCheck> {
    const check = (origin: string): HealthCheck => ({
      degrades: true,
      run: () => {
        const still = this.status().find((one) => one.origin === origin && one.stillMs > stalledMs)
        return still === undefined || sentence(still)
      },
    })
    return Object.fromEntries(this.#watched.map(({ copy: { origin } }) => [`copy of ${origin}`, check(origin)]))
  }

  async #lookAtAll(mine: boolean): Promise<void> {
    if (!mine) for (const watched of this.#watched) settle(watched)
    if (!mine || this.#looking || !this.#bus.connected) return
    this.#looking = true
    // an origin or a copy without a leader answers nothing: whoever reads it reports that
    for (const watched of this.#watched) await this.#look(watched).catch(() => undefined)
    this.#looking = false
  }

  async #look(watched: Watched): Promise<void> {
    const { origin, stream, subject, copied } = watched.copy
    const end = await lastMessage(this.#bus, origin, subject)
    const at = end && (await lastMessage(this.#bus, stream, copied(end.subject)))
    const position = copiedFrom(at, origin)
    if (!end || position >= end.sequence) return this.#moves(watched)
    const info = await streamInfo(this.#bus, stream)
    if (!info) return settle(watched)
    const lag = info.sources?.find(({ name }) => name === origin)?.lag ?? 0
    // where it was cut, the message may have been there
    const { first_seq: first, num_deleted: deleted = 0 } = info.state
    const whole = first <= 1 && deleted === 0
    if (at === undefined && !whole && lag === 0) return settle(watched)
    const moved = watched.wanted === 0 || position !== watched.position || lag !== watched.lag
    if (moved) {
      this.#moves(watched)
      Object.assign(watched, { wanted: end.sequence, position, lag, since: now() })
      return
    }
    watched.behind = Math.max(1, lag, position > 0 ? end.sequence - position : end.sequence - watched.wanted)
    const still = now() - watched.since
    if (still > stalledMs && !watched.reported) {
      watched.reported = true
      this.#log.warn(sentence({ stream, origin, behind: watched.behind, stillMs: still }))
    }
    if (still < healAfterMs || now() - watched.healedAt < healEveryMs) return
    watched.healedAt = now()
    // The server finds its place in what it copied. Where that is gone it could leave out or repeat.
    const anchored = whole || (watched.copy.keepsLast && position > 0)
    if (!anchored) {
      this.#log.warn(`${stream} no longer has what it copied last from ${origin}: copying is not begun again`)
      return
    }
    try {
      await renewSource(this.#bus, stream, origin, subject)
      await watched.copy.ensure()
      this.#log.warn(`the server was told to begin copying from ${origin} into ${stream} again, where it stood still`)
    } catch (error) {
      this.#log.warn({ err: error }, `copying ${origin} into ${stream} could not be begun again: ${messageOf(error)}`)
      await watched.copy.ensure().catch(() => undefined)
    }
  }

  #moves(watched: Watched): void {
    if (watched.reported) this.#log.info(`${watched.copy.stream} goes on copying from ${watched.copy.origin}`)
    settle(watched)
  }
}

function settle(watched: Watched): void {
  Object.assign(watched, { wanted: 0, position: 0, lag: 0, behind: 0, reported: false })
}

const sentence = ({ stream, origin, behind, stillMs }: CopyStatus) =>
  `${stream} has stood still for ${Math.round(stillMs / 1_000)} s: at least ${behind} messages of ${origin} are not copied by the server`

/** Up to which message of an origin was copied; 0 when the message is not from it. */
export function copiedFrom(message: StoredMessage | undefined, origin: string): number {
  const [name, sequence] = message?.headers.get('Nats-Stream-Source')?.split(' ') ?? []
  return name === origin || name?.startsWith(`${origin}:`) ? Number(sequence) || 0 : 0
}
