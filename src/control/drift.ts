// Drift: instances that are not what their unit's desired state says. Runners bring themselves in line; who does not, the
// leading controller tells, in its log and as events `evt.control.drifted` and `evt.control.converged`.
import { z } from 'zod'
import { type Bus, timerMs } from '../bus/internal.ts'
import { anyContract } from '../contract/internal.ts'
import type { Fleet, Member } from '../heartbeat/index.ts'
import { client } from '../service/index.ts'
import type { Logger } from '../unit/internal.ts'
import type { DesiredEntry, DesiredStates } from './desired.ts'

/** One thing that is not as it should be. */
export interface Drift {
  readonly site: string
  readonly unit: string
  readonly what: 'replicas' | 'state' | 'revision'
  readonly wanted: string
  readonly found: string
  /** The instances concerned. */
  readonly instances: readonly string[]
}

const Drifted = z.object({
  site: z.string(),
  unit: z.string(),
  what: z.enum(['replicas', 'state', 'revision']),
  wanted: z.string(),
  found: z.string(),
  instances: z.array(z.string()),
  at: z.string(),
})
const durable = { maxAge: '7d', maxMessages: 100_000, discard: 'old', dedupWindow: '2m' } as const

/** What the leading controller tells. */
export const controlEvents = anyContract('control', {
  version: '1.0.0',
  description: 'Units that are not what they should be, and that are again.',
  events: {
    drifted: { description: 'A unit has not been as desired for a while.', payload: Drifted, key: 'unit', durable },
    converged: { description: 'A unit that had drifted is as desired again.', payload: Drifted, key: 'unit', durable },
  },
})

const resting: Partial<Record<string, DesiredEntry['desired']['state']>> = { paused: 'paused', stopped: 'stopped' }

/** Compares what instances say of themselves with what should be. */
export function driftOf(desired: readonly DesiredEntry[], members: readonly Member[]): Drift[] {
  const found: Drift[] = []
  for (const { site, unit, desired: wanted, revision } of desired) {
    const present = members.filter(
      ({ beat, status }) => beat.site === site && beat.unit === unit && (status === 'alive' || status === 'suspect'),
    )
    if (present.length === 0) continue // nobody there to be anything
    const add = (what: Drift['what'], want: string | number, is: string | number, of: readonly Member[]) =>
      found.push({
        site,
        unit,
        what,
        wanted: String(want),
        found: String(is),
        instances: of.map(({ beat }) => beat.instance).sort(),
      })
    if (wanted.replicas !== undefined && wanted.replicas !== present.length) {
      add('replicas', wanted.replicas, present.length, present)
    }
    const other = present.filter(({ beat }) => (resting[beat.state] ?? 'running') !== wanted.state)
    if (other.length > 0) {
      add('state', wanted.state, [...new Set(other.map(({ beat }) => beat.state))].sort().join(', '), other)
    }
    const behind = present.filter(({ beat }) => beat.revision < revision)
    if (behind.length > 0) add('revision', revision, Math.min(...behind.map(({ beat }) => beat.revision)), behind)
  }
  return found
}

const everyMs = 1_000
/** Runners that are about to follow have not drifted. */
const patienceMs = 5_000

/** Looks for drift and tells what lasts. Call the result to stop. */
export function announceDrift(bus: Bus, watching: Fleet, states: DesiredStates, log: Logger): () => void {
  const api = client(bus, controlEvents)
  const known = new Map<string, { drift: Drift; since: number; announced: boolean }>()
  let looking = false
  const announce = (event: 'drifted' | 'converged', drift: Drift) => {
    const { site, unit, what, wanted, found, instances } = drift
    if (event === 'drifted') {
      log.warn({ ...drift }, `drift: ${what} of ${unit} at ${site} should be ${wanted}, is ${found}`)
    } else log.info({ site, unit, what }, `${what} of ${unit} at ${site} is as desired again`)
    const payload = { site, unit, what, wanted, found, instances: [...instances], at: new Date().toISOString() }
    api[event].publish(payload).catch((error) => log.warn({ err: error }, `evt.control.${event} was not published`))
  }
  const look = async () => {
    if (looking || watching.blind) return
    looking = true
    try {
      const now = performance.now()
      const present = new Map(
        driftOf(await states.all(), watching.list()).map((d) => [`${d.site}.${d.unit} ${d.what}`, d]),
      )
      for (const [key, { drift, announced }] of known) {
        if (present.has(key)) continue
        known.delete(key)
        if (announced) announce('converged', drift)
      }
      for (const [key, drift] of present) {
        const before = known.get(key)
        if (!before) known.set(key, { drift, since: now, announced: false })
        else if (!before.announced && now - before.since >= patienceMs) {
          known.set(key, { ...before, drift, announced: true })
          announce('drifted', drift)
        }
      }
    } catch (error) {
      log.warn({ err: error }, 'drift could not be looked for')
    } finally {
      looking = false
    }
  }
  const timer = setInterval(() => void look(), timerMs(everyMs))
  return () => clearInterval(timer)
}
