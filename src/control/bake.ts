// Watching the instances of a rollout that have the new configuration, against those that have the old one.
import { now, sleep } from '../bus/internal.ts'
import type { Fleet } from '../heartbeat/index.ts'
import { able, type Rollout, type Rollouts } from './rollout.ts'

export const aborted = 'aborted by command'
const lookMs = 250
/** Work that both sides must have done before their latencies are compared, and the difference that is never worse. */
const latencySample = 20
const latencyFloorMs = 5

/** Watches the new ones for a while. Resolves with what is wrong with them, if anything. */
export async function bake(
  fleet: Fleet,
  rollouts: Rollouts,
  rollout: Rollout,
  signal: AbortSignal,
  say: (note: string) => Promise<void>,
): Promise<string | undefined> {
  const { spec, id } = rollout
  const updated = new Set(rollout.updated)
  const counts = () => {
    const of = () => ({ handled: 0, errors: 0, workMs: 0 })
    const sums = { new: of(), old: of() }
    for (const { beat } of able(fleet, spec)) {
      const side = sums[updated.has(beat.instance) ? 'new' : 'old']
      side.handled += beat.vitals.handled ?? 0
      side.errors += beat.vitals.errors ?? 0
      side.workMs += beat.vitals.workMs ?? 0
    }
    return sums
  }
  // beats with the new configuration first: what they count begins anew with it
  await sleep(Math.min(1_500, spec.bakeMs), signal)
  const from = counts()
  await say(`watching ${updated.size} of ${rollout.total}`)
  for (const end = now() + spec.bakeMs; now() < end && !signal.aborted; ) {
    await sleep(lookMs, signal)
    for (const { beat, status } of fleet.list({ unit: spec.unit })) {
      if (!updated.has(beat.instance)) continue
      if (status === 'dead') return `${beat.instance} is dead`
      if (beat.state === 'failed') return `${beat.instance} failed`
      const failed = beat.checks.find((check) => check.status === 'failed')
      if (failed) return `${beat.instance}: check ${failed.name} failed: ${failed.reason}`
    }
    const counted = counts()
    const [fresh, old] = [since(counted.new, from.new), since(counted.old, from.old)]
    if (fresh.errorShare > old.errorShare + spec.maxErrorShare) {
      return `the new ones fail at ${(fresh.errorShare * 100).toFixed(1)} % of their work, the old ones at ${(old.errorShare * 100).toFixed(1)} %`
    }
    const comparable = fresh.handled >= latencySample && old.handled >= latencySample
    if (comparable && fresh.latencyMs > old.latencyMs * spec.maxLatencyRatio + latencyFloorMs) {
      return `the new ones take ${fresh.latencyMs.toFixed(1)} ms for a piece of work, the old ones ${old.latencyMs.toFixed(1)} ms`
    }
    if ((await rollouts.wish(id)) === 'aborted') return aborted
  }
  return undefined
}

interface Counts {
  readonly handled: number
  readonly errors: number
  readonly workMs: number
}

/** What happened between two counts. */
function since(now: Counts, before: Counts) {
  const handled = now.handled - before.handled
  const errors = now.errors - before.errors
  return {
    handled,
    errorShare: handled + errors > 0 ? errors / Math.max(handled, errors) : 0,
    latencyMs: handled > 0 ? (now.workMs - before.workMs) / handled : 0,
  }
}
