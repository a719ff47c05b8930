// Health checks: asked on time, answered within a bound, remembered; and the ready-made ones.
import { statfs } from 'node:fs/promises'
import { type Bus, messageOf, streamInfo } from '../bus/index.ts'
import type { HealthCheck } from '../unit/index.ts'
import type { CheckResult } from './beat.ts'

/** Runs a unit's checks in turn, at most one question of each under way. */
export class Checks {
  readonly #checks: ReadonlyMap<string, HealthCheck>
  readonly #results = new Map<string, CheckResult>()
  readonly #askedAt = new Map<string, number>()
  readonly #underWay = new Set<string>()

  constructor(checks: Readonly<Record<string, HealthCheck>>) {
    this.#checks = new Map(Object.entries(checks))
  }

  /** What is known now; asks again, in the background, what is too old. */
  results(): readonly CheckResult[] {
    const now = Date.now()
    for (const [name, check] of this.#checks) {
      const age = now - (this.#askedAt.get(name) ?? Number.NEGATIVE_INFINITY)
      if (age >= (check.cacheMs ?? 1_000) && !this.#underWay.has(name)) void this.#ask(name, check)
    }
    return [...this.#results.values()]
  }

  /** Asks everything now and resolves with the answers. */
  async refresh(): Promise<readonly CheckResult[]> {
    await Promise.all([...this.#checks].map(([name, check]) => this.#ask(name, check)))
    return [...this.#results.values()]
  }

  async #ask(name: string, check: HealthCheck): Promise<void> {
    this.#underWay.add(name)
    this.#askedAt.set(name, Date.now())
    const timeoutMs = check.timeoutMs ?? 1_000
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, `no answer within ${timeoutMs} ms`)
    })
    let answer: unknown
    try {
      answer = await Promise.race([Promise.resolve().then(check.run), late])
    } catch (error) {
      answer = messageOf(error)
    }
    clearTimeout(timer)
    this.#underWay.delete(name)
    const status = answer === true ? 'ok' : check.degrades ? 'degraded' : 'failed'
    const before = this.#results.get(name)
    this.#results.set(name, {
      name,
      kind: check.kind ?? 'readiness',
      status,
      ...(answer === true ? {} : { reason: reasonOf(answer) }),
      since: before?.status === status ? before.since : Date.now(),
    })
  }
}

/** Checks are others' code: one that answers neither true nor a reason has not said that all is well. */
const reasonOf = (answer: unknown): string =>
  typeof answer === 'string'
    ? answer.slice(0, 300)
    : `answered ${String(answer).slice(0, 100)} instead of true or a reason`

/** The connection to NATS is up, and the server answers. */
export function natsCheck(bus: Bus): HealthCheck {
  return {
    run: async () => {
      if (!bus.connected) return 'disconnected from NATS'
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
