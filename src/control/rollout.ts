// A rollout gives a unit's instances a new configuration in batches. After each batch the new ones are watched; when they
// are worse than the old ones were, everything goes back. Its state is in a bucket, so that another controller goes on
// with it where one was killed.
import { z } from 'zod'
import { type Bucket, type Bus, boundedText, bucket, failure, isRecord, MyelinError, nameOf } from '../bus/internal.ts'
import type { Fleet, Member } from '../heartbeat/index.ts'
import { DesiredStates } from './desired.ts'

export const RolloutSpec = z.object({
  unit: z.string().min(1),
  site: z.string().optional(),
  /** Keys to replace. */
  config: z.record(z.string(), z.unknown()),
  /** Share of the instances in one batch, in percent: rounded down (25 % of 10 are 2), at least one. */
  batchPercent: z.number().min(1).max(100).default(25),
  /** How long each batch is watched. */
  bakeMs: z.number().min(0).max(86_400_000).default(10_000),
  /** The new ones may fail so much more often than the old ones, as a share of their work. */
  maxErrorShare: z.number().min(0).max(1).default(0.02),
  /** The new ones may take so many times as long for a piece of work as the old ones, in the mean. */
  maxLatencyRatio: z.number().min(1).max(1_000).default(3),
  by: z.string().default(''),
})
/** What a rollout does, with every default filled in. */
export type RolloutSpec = z.infer<typeof RolloutSpec>
/** What a rollout does, as one writes it. */
export type RolloutInput = z.input<typeof RolloutSpec>

/** How far a rollout is; the last three are its ends. */
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
  /** Each site's desired configuration before; what a rollback returns to. */
  readonly before: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly startedAt: string
  readonly at: string
}

/** @internal */
export const over = (phase: RolloutPhase) => phase !== 'running' && phase !== 'paused'

type Wish = 'running' | 'paused' | 'aborted'

export class Rollouts {
  /** The rollouts; under `wish.` what was asked for; under `unit.` the id of the rollout that a unit is in. */
  readonly #bucket: Bucket<Rollout | Wish | string>
  readonly #bus: Bus
  private constructor(bus: Bus, bucket: Bucket<Rollout | Wish | string>) {
    this.#bus = bus
    this.#bucket = bucket
  }

  static async open(bus: Bus): Promise<Rollouts> {
    return new Rollouts(
      bus,
      await bucket<Rollout | Wish | string>(bus, nameOf('bucket', 'ROLLOUTS'), { ttlMs: 30 * 86_400_000 }),
    )
  }

  /** Puts a rollout up; the controller that leads carries it out. @throws MyelinError NO_MATCH, INVALID_OPTION, ILLEGAL_TRANSITION */
  async start(fleet: Fleet, input: RolloutInput): Promise<Rollout> {
    const parsed = RolloutSpec.safeParse(input)
    if (!parsed.success) {
      const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
      throw failure('INVALID_OPTION', `rollout: ${problems}`)
    }
    const spec = parsed.data
    const members = able(fleet, spec)
    if (members.length === 0) throw failure('NO_MATCH', `no instance of unit "${spec.unit}" is at work`)
    const claim = await this.#claim(spec.unit)
    const other = claim.id === undefined ? undefined : await this.get(claim.id)
    if (other && !over(other.phase)) throw taken(other)
    const states = await DesiredStates.open(this.#bus)
    const before: Record<string, Readonly<Record<string, unknown>>> = {}
    for (const site of new Set(members.map(({ beat }) => beat.site))) {
      before[site] = (await states.get(site, spec.unit))?.desired.config ?? {}
    }
    const now = new Date().toISOString()
    const rollout: Rollout = {
      id: crypto.randomUUID().slice(0, 8),
      spec,
      phase: 'running',
      updated: [],
      pending: [],
      total: members.length,
      note: 'waiting for a controller',
      before,
      startedAt: now,
      at: now,
    }
    await this.#bucket.create(rollout.id, this.#fitting(rollout))
    try {
      await this.#bucket.update(claimOf(spec.unit), rollout.id, claim.revision)
    } catch (error) {
      await this.#bucket.delete(rollout.id)
      if (!(error instanceof MyelinError) || error.code !== 'WRONG_SEQUENCE') throw error
      const { id } = await this.#claim(spec.unit)
      const faster = id === undefined || id === claim.id ? undefined : await this.get(id)
      throw faster ? taken(faster) : error
    }
    return rollout
  }

  /** Which rollout has a unit to itself: changed by compare-and-set, so that of two at once one is refused. */
  async #claim(unit: string): Promise<{ readonly id: string | undefined; readonly revision: number }> {
    const { value, revision } = await this.#bucket.get(claimOf(unit))
    return { id: typeof value === 'string' ? value : undefined, revision }
  }

  /** @internal whether a rollout has its unit to itself; one that was refused never has */
  async holds({ id, spec }: Rollout): Promise<boolean> {
    return (await this.#claim(spec.unit)).id === id
  }

  /** @throws MyelinError PAYLOAD_TOO_LARGE */
  #fitting(rollout: Rollout): Rollout {
    const fitting = { ...rollout, note: boundedText(rollout.note, noteBytes) }
    const limit = this.#bus.maxPayloadBytes - headroomBytes
    if (Buffer.byteLength(JSON.stringify(fitting)) <= limit) return fitting
    throw failure(
      'PAYLOAD_TOO_LARGE',
      `rollout of "${rollout.spec.unit}": its configurations must fit into ${limit} bytes`,
    )
  }

  async get(id: string): Promise<Rollout | undefined> {
    return (await this.take(id))?.rollout
  }

  async list(): Promise<Rollout[]> {
    const keys = (await this.#bucket.keys()).filter((key) => !key.startsWith(wishes) && !key.startsWith(claims))
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
    return { rollout: saved, revision: await this.#bucket.update(rollout.id, this.#fitting(saved), revision) }
  }

  /** Calls for every change. Call the result to stop. */
  async watch(
    onChange: (rollout: Rollout) => void,
    onError: (error: unknown) => void = () => undefined,
  ): Promise<() => void> {
    const report = (rollout: Rollout | undefined) => rollout && onChange(rollout)
    const watching = await this.#bucket.watch(
      ({ key, value }) => {
        if (key.startsWith(wishes)) void this.get(key.slice(wishes.length)).then(report).catch(onError)
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
/** Keys that say which rollout has a unit to itself. */
const claims = 'unit.'
const claimOf = (unit: string) => claims + Buffer.from(unit).toString('base64url')
const noteBytes = 2_000
/** For what the server and the client library add. */
const headroomBytes = 1_024

const taken = ({ id, spec, phase }: Rollout) =>
  failure('ILLEGAL_TRANSITION', `unit "${spec.unit}" is in rollout ${id} (${phase}); end it first`)

/** @internal Instances of a unit that can be given something. */
export function able(fleet: Fleet, { unit, site }: RolloutSpec): Member[] {
  return fleet
    .list({ unit, ...(site === undefined ? {} : { site }) })
    .filter(({ status }) => status === 'alive' || status === 'suspect')
}
