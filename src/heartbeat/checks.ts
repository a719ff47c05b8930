// Health checks: asked on time, answered within a bound, remembered; and the ready-made ones.
import { statfs } from 'node:fs/promises'
import { type Bus, boundedText, messageOf, now, streamInfo, timerMs } from '../bus/internal.ts'
import type { HealthCheck } from '../unit/internal.ts'
import type { CheckResult } from './beat.ts'

const defaultMs = 1_000
/** Questions that never came back, of one check: more are not asked. */
const maxHanging = 3
const reasonBytes = 300

/** Runs a unit's checks in turn. They are others' code: whatever they do becomes an answer. */
export class Checks {
  readonly #checks: ReadonlyMap<string, HealthCheck>
  readonly #results = new Map<string, CheckResult>()
  readonly #askedAt = new Map<string, number>()
  readonly #waiting = new Set<string>()
  readonly #hanging = new Map<string, number>()

  constructor(checks: Readonly<Record<string, HealthCheck>>) {
    this.#checks = new Map(Object.entries(checks))
  }

  /** What is known now; asks again, in the background, what is too old. */
  results(): readonly CheckResult[] {
    const at = now()
    for (const [name, check] of this.#checks) {
      const age = at - (this.#askedAt.get(name) ?? Number.NEGATIVE_INFINITY)
      const hanging = this.#hanging.get(name) ?? 0
      if (age >= durationOf(check?.cacheMs) && !this.#waiting.has(name) && hanging < maxHanging)
        void this.#ask(name, check)
    }
    return [...this.#results.values()]
  }

  /** Asks everything now and resolves with the answers. */
  async refresh(): Promise<readonly CheckResult[]> {
    await Promise.all([...this.#checks].map(([name, check]) => this.#ask(name, check)))
    return [...this.#results.values()]
  }

  async #ask(name: string, check: HealthCheck): Promise<void> {
    this.#waiting.add(name)
    this.#askedAt.set(name, now())
    const timeoutMs = durationOf(check?.timeoutMs)
    const late = Promise.withResolvers<string>()
    let hangs = false
    const timer = setTimeout(() => {
      hangs = true
      this.#hang(name, 1)
      late.resolve(`no answer within ${timeoutMs} ms`)
    }, timerMs(timeoutMs))
    const asked = (async () => check.run())()
    const back = () => {
      if (hangs) this.#hang(name, -1)
    }
    asked.then(back, back)
    let answer: unknown
    try {
      answer = await Promise.race([asked, late.promise])
    } catch (error) {
      answer = messageOf(error)
    }
    clearTimeout(timer)
    this.#waiting.delete(name)
    const status = answer === true ? 'ok' : check?.degrades ? 'degraded' : 'failed'
    const before = this.#results.get(name)
    this.#results.set(name, {
      name,
      kind: check?.kind ?? 'readiness',
      status,
      ...(answer === true ? {} : { reason: reasonOf(answer) }),
      since: before?.status === status ? before.since : Date.now(),
    })
  }

  #hang(name: string, by: 1 | -1): void {
    this.#hanging.set(name, (this.#hanging.get(name) ?? 0) + by)
  }
}

const durationOf = (ms: unknown): number => (typeof ms === 'number' && ms >= 0 ? ms : defaultMs)

/** One that answers neither true nor a reason has not said that all is well. */
const reasonOf = (answer: unknown): string =>
  typeof answer === 'string'
    ? boundedText(answer, reasonBytes)
    : `answered ${boundedText(messageOf(answer), 100)} instead of true or a reason`

/** What is wrong with a connection that hears nothing. */
export const staleReason = (bus: Bus) => `nothing has come from NATS for ${(bus.silentMs / 1_000).toFixed(1)} s`

/** The connection to NATS is up, and the server answers. */
export function natsCheck(bus: Bus): HealthCheck {
  return {
    run: async () => {
      if (!bus.connected) return 'disconnected from NATS'
      if (bus.stale) return staleReason(bus)
      await bus.flush()
      return true
    },
  }
}

/** A question to a database or any other service: fine when it resolves. */
export function pingCheck(what: string, ping: () => Promise<unknown>): HealthCheck {
  return {
    run: () =>
      ping().then(
        () => true as const,
        (error) => `${what}: ${messageOf(error)}`,
      ),
  }
}

/** A reader is not more than so many messages behind its stream; behind is degraded, not dead. */
export function lagCheck(bus: Bus, stream: string, position: () => number, maxLag: number): HealthCheck {
  return {
    degrades: true,
    run: async () => {
      const info = await streamInfo(bus, stream)
      if (!info) return `stream ${stream} does not exist`
      const lag = info.state.last_seq - position()
      return lag <= maxLag || `${lag} messages behind ${stream}; allowed are ${maxLag}`
    },
  }
}

/** A disk has room left. */
export function diskCheck(path: string, minFreeBytes: number): HealthCheck {
  return {
    cacheMs: 10_000,
    run: async () => {
      const { bavail, bsize } = await statfs(path)
      const free = bavail * bsize
      return (
        free >= minFreeBytes ||
        `${path}: ${Math.round(free / 1e6)} MB free; needed are ${Math.round(minFreeBytes / 1e6)} MB`
      )
    },
  }
}
