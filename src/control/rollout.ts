// A rollout gives a unit's instances a new configuration in batches. After each batch the new ones are watched; when they
// are worse than the old ones were, everything goes back. Its state is in a bucket, so that another controller goes on
// with it where one was killed.
import { z } from 'zod'
import { type Bucket, type Bus, bucket, failure, isRecord, MyelinError, messageOf, nameOf, now } from '../bus/index.ts'
import type { Fleet, Member } from '../heartbeat/index.ts'
import { record } from './audit.ts'
import { command } from './controller.ts'
import { DesiredStates } from './desired.ts'

export const RolloutSpec = z.object({
  unit: z.string().min(1),
  site: z.string().optional(),
  /** Keys to replace. */
  config: z.record(z.string(), z.unknown()),
  /** Share of the instances in one batch, in percent; at least one. */
  batchPercent: z.number().min(1).max(100).default(25),
  /** How long each batch is watched. */
  bakeMs: z.number().min(0).max(86_400_000).default(10_000),
  /** The new ones may fail so much more often than the old ones, as a share of their work. */
  maxErrorShare: z.number().min(0).max(1).default(0.02),
  /** The new ones may take so many times as long for a piece of work as the old ones, in the mean. */
  maxLatencyRatio: z.number().min(1).max(1_000).default(3),
  by: z.string().default(''),
})
export type RolloutSpec = z.infer<typeof RolloutSpec>
export type RolloutInput = z.input<typeof RolloutSpec>

export type RolloutPhase = 'running' | 'paused' | 'done' | 'rolled-back' | 'failed'

/** A rollout as it stands. */
export interface Rollout {
  readonly id: string
  readonly spec: RolloutSpec
  readonly phase: RolloutPhase
  /** Instances that have the new configuration. */
  readonly updated: readonly string[]
  /** Those of them that have not been watched to the end: whoever takes over begins with them. */
  readonly pending: readonly string[]
  /** Why it is going back, since that was decided: whoever takes over goes on with that. */
  readonly back?: string
  readonly total: number
  /** What is being done, or why it ended. */
  readonly note: string
  /** Desired configuration before; what a rollback returns to. */
  readonly before: Readonly<Record<string, unknown>>
  readonly startedAt: string
  readonly at: string
}

const over = (phase: RolloutPhase) => phase !== 'running' && phase !== 'paused'

type Wish = 'running' | 'paused' | 'aborted'

export class Rollouts {
  /** The rollouts, and under `wish.` what was asked for. */
  readonly #bucket: Bucket<Rollout | Wish>
  readonly #bus: Bus
  private constructor(bus: Bus, bucket: Bucket<Rollout | Wish>) {
    this.#bus = bus
    this.#bucket = bucket
  }

  static async open(bus: Bus): Promise<Rollouts> {
    return new Rollouts(
      bus,
      await bucket<Rollout | Wish>(bus, nameOf('bucket', 'ROLLOUTS'), { ttlMs: 30 * 86_400_000 }),
    )
  }

  /** Puts a rollout up; the controller that leads carries it out. @throws MyelinError NO_MATCH, INVALID_OPTION, ILLEGAL_TRANSITION */
  async start(fleet: Fleet, input: RolloutInput): Promise<Rollout> {
    const parsed = RolloutSpec.safeParse(input)
    if (!parsed.success) {
      const told = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
      throw failure('INVALID_OPTION', `rollout: ${told}`)
    }
    const spec = parsed.data
    const members = able(fleet, spec)
    if (members.length === 0) throw failure('NO_MATCH', `no instance of unit "${spec.unit}" is at work`)
    const other = (await this.list()).find(({ spec: { unit }, phase }) => unit === spec.unit && !over(phase))
    if (other)
      throw failure(
        'ILLEGAL_TRANSITION',
        `unit "${spec.unit}" is in rollout ${other.id} (${other.phase}); end it first`,
      )
    const site = members[0]!.beat.site
    const desired = await (await DesiredStates.open(this.#bus)).get(site, spec.unit)
    const now = new Date().toISOString()
    const rollout: Rollout = {
      id: crypto.randomUUID().slice(0, 8),
      spec,
      phase: 'running',
      updated: [],
      pending: [],
      total: members.length,
      note: 'waiting for a controller',
      before: desired?.desired.config ?? {},
      startedAt: now,
      at: now,
    }
    await this.#bucket.create(rollout.id, rollout)
    return rollout
  }

  async get(id: string): Promise<Rollout | undefined> {
    return (await this.take(id))?.rollout
  }

  async list(): Promise<Rollout[]> {
    const keys = (await this.#bucket.keys()).filter((key) => !key.startsWith(wishes))
    const found = (await Promise.all(keys.map((key) => this.get(key)))).filter((rollout) => rollout !== undefined)
    return found.sort((a, b) => a.startedAt.localeCompare(b.startedAt))
  }

  /**
   * Asks to pause, resume or end a rollout; `aborted` goes back. The controller follows between two batches: only it
   * writes the rollout itself, so that neither overwrites the other.
   * @throws MyelinError NO_MATCH, ILLEGAL_TRANSITION
   */
  async steer(id: string, to: Wish): Promise<Rollout> {
    const rollout = await this.get(id)
    if (!rollout) throw failure('NO_MATCH', `there is no rollout "${id}"`)
    if (over(rollout.phase)) throw failure('ILLEGAL_TRANSITION', `rollout ${id} is over (${rollout.phase})`)
    await this.#bucket.put(wishes + id, to)
    return rollout
  }

  /** @internal what was asked for last */
  async wish(id: string): Promise<Wish> {
    const { value } = await this.#bucket.get(wishes + id)
    return value === 'paused' || value === 'aborted' ? value : 'running'
  }

  /** @internal with the revision that the next write has to name */
  async take(id: string): Promise<{ readonly rollout: Rollout; readonly revision: number } | undefined> {
    const { value, revision } = await this.#bucket.get(id)
    return isRollout(value) ? { rollout: value, revision } : undefined
  }

  /** @internal Fails when somebody else wrote since `revision`: a leader that slept must not undo what its successor did. */
  async save(rollout: Rollout, revision: number): Promise<{ rollout: Rollout; revision: number }> {
    const saved = { ...rollout, at: new Date().toISOString() }
    return { rollout: saved, revision: await this.#bucket.update(rollout.id, saved, revision) }
  }

  /** Calls for every change. Call the result to stop. */
  async watch(
    onChange: (rollout: Rollout) => void,
    onError: (error: unknown) => void = () => undefined,
  ): Promise<() => void> {
    const told = (rollout: Rollout | undefined) => rollout && onChange(rollout)
    const watching = await this.#bucket.watch(
      ({ key, value }) => {
        if (key.startsWith(wishes)) void this.get(key.slice(wishes.length)).then(told).catch(onError)
        else if (isRollout(value)) onChange(value)
      },
      { onError },
    )
    return () => void watching.stop()
  }
}

const isRollout = (value: unknown): value is Rollout => isRecord(value) && isRecord(value.spec)

/** Keys of what was asked for, beside the rollouts themselves. */
const wishes = 'wish.'
const aborted = 'aborted by command'
const lookMs = 250
/** Work that both sides must have done before their latencies are compared, and the difference that is never worse. */
const latencySample = 20
const latencyFloorMs = 5

/**
 * Carries out a rollout until it is over, paused, or this controller does not lead any more.
 * @throws whatever may pass, like a lost connection: it can be gone on with then
 */
export async function carryOut(
  bus: Bus,
  fleet: Fleet,
  rollouts: Rollouts,
  id: string,
  { token, signal }: { token: number; signal: AbortSignal },
): Promise<void> {
  const taken = await rollouts.take(id)
  if (!taken || over(taken.rollout.phase)) return // another controller has ended it
  let { rollout, revision } = taken
  const save = async (change: Partial<Rollout>) => {
    ;({ rollout, revision } = await rollouts.save({ ...rollout, ...change }, revision))
  }
  /** Resolves with those who did not follow, and why. */
  const configure = async (instances: readonly string[], config: Readonly<Record<string, unknown>>) => {
    const told = instances.map(async (instance) => {
      const { unit } = rollout.spec
      const request = { verb: 'configure', selector: { unit, instance }, args: { config } } as const
      const { acks, missing } = await command(bus, fleet, { ...request, by: `rollout ${id}`, token })
      const refused = acks.find(({ ok }) => !ok)
      if (refused) return `${instance}: ${refused.error?.message}`
      return missing.length > 0 ? `${instance} did not answer` : undefined
    })
    const results = await Promise.allSettled(told)
    for (const result of results) if (result.status === 'rejected' && mayPass(result.reason)) throw result.reason
    return results.flatMap((result, i) =>
      result.status === 'rejected' ? `${instances[i]}: ${messageOf(result.reason)}` : (result.value ?? []),
    )
  }
  const back = async (why: string) => {
    await save({ back: why, note: `going back: ${why}` })
    // the dead as well: the host of a unit whose process died hears for it
    const there = fleet.list({ unit: rollout.spec.unit }).filter(({ status }) => status !== 'left')
    const known = new Set(there.map(({ beat }) => beat.instance))
    const not = await configure(
      rollout.updated.filter((instance) => known.has(instance)),
      rollout.before,
    )
    const note = not.length === 0 ? why : `${why}; not everybody went back: ${not.join('; ')}`
    await save({ phase: 'rolled-back', updated: [], pending: [], note })
  }

  try {
    while (!over(rollout.phase) && !signal.aborted) {
      const { spec } = rollout
      const wish = await rollouts.wish(id)
      if (rollout.back !== undefined || wish === 'aborted') {
        await back(rollout.back ?? aborted)
        break
      }
      if (wish === 'paused') {
        if (rollout.phase !== 'paused') await save({ phase: 'paused', note: 'paused by command' })
        return
      }
      if (rollout.phase === 'paused') await save({ phase: 'running', note: 'resumed' })
      const members = able(fleet, spec)
      if (rollout.pending.length === 0) {
        const updated = new Set(rollout.updated)
        const waiting = members.filter(({ beat }) => !updated.has(beat.instance))
        if (waiting.length === 0) {
          // from now on also for those who come later
          const states = await DesiredStates.open(bus)
          const config = { ...rollout.before, ...spec.config }
          for (const site of new Set(members.map(({ beat }) => beat.site))) {
            await states.patch(site, spec.unit, { config }, `rollout ${id}`, { token })
          }
          await save({ phase: 'done', note: `all ${members.length} instances` })
          break
        }
        const batch = waiting.slice(0, Math.max(1, Math.round((members.length * spec.batchPercent) / 100)))
        const names = batch.map(({ beat }) => beat.instance)
        // written down before it is done: whoever takes over knows what may have to go back
        await save({
          total: members.length,
          updated: [...rollout.updated, ...names],
          pending: names,
          note: `configuring ${names.join(', ')}`,
        })
      }
      const gone = new Set(fleet.list({ unit: spec.unit, state: 'left' }).map(({ beat }) => beat.instance))
      const refused = await configure(
        rollout.pending.filter((instance) => !gone.has(instance)),
        { ...rollout.before, ...spec.config },
      )
      if (refused.length > 0) {
        await back(refused.join('; '))
        break
      }
      const worse = await bake(fleet, rollouts, rollout, signal, (note) => save({ note }))
      if (signal.aborted) return // its successor watches this batch again
      if (worse) {
        await back(worse)
        break
      }
      await save({ pending: [] })
    }
  } catch (error) {
    if (signal.aborted || superseded(error)) return
    if (mayPass(error)) throw error
    if (rollout.updated.length > 0 && rollout.back === undefined) await back(messageOf(error))
    else await save({ phase: 'failed', note: messageOf(error) })
  }
  if (!over(rollout.phase)) return
  await record(bus, {
    id,
    at: new Date().toISOString(),
    by: rollout.spec.by,
    verb: 'rollout',
    selector: { unit: rollout.spec.unit },
    args: { config: rollout.spec.config },
    outcome: rollout.phase === 'done' ? 'done' : 'failed',
    note: `${rollout.phase}: ${rollout.note}`,
    results: [],
  })
}

/** Somebody else leads and has gone on with it. */
const superseded = (error: unknown) =>
  error instanceof MyelinError && (error.code === 'FENCED' || error.code === 'WRONG_SEQUENCE')

/** What the connection or the server could not do now. */
const mayPass = (error: unknown) => superseded(error) || !(error instanceof MyelinError) || error.retriable

/** Instances of a unit that can be given something. */
function able(fleet: Fleet, { unit, site }: RolloutSpec): Member[] {
  return fleet
    .list({ unit, ...(site === undefined ? {} : { site }) })
    .filter(({ status }) => status === 'alive' || status === 'suspect')
}

/** Watches the new ones for a while. Resolves with what is wrong with them, if anything. */
async function bake(
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
  await new Promise((resolve) => setTimeout(resolve, Math.min(1_500, spec.bakeMs)))
  const from = counts()
  await say(`watching ${updated.size} of ${rollout.total}`)
  for (const end = now() + spec.bakeMs; now() < end && !signal.aborted; ) {
    await new Promise((resolve) => setTimeout(resolve, lookMs))
    for (const { beat, status } of fleet.list({ unit: spec.unit })) {
      if (!updated.has(beat.instance)) continue
      if (status === 'dead') return `${beat.instance} is dead`
      if (beat.state === 'failed') return `${beat.instance} failed`
      const failed = beat.checks.find((check) => check.status === 'failed')
      if (failed) return `${beat.instance}: check ${failed.name} failed: ${failed.reason}`
    }
    const now = counts()
    const [fresh, old] = [since(now.new, from.new), since(now.old, from.old)]
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
