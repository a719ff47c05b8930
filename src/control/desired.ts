// Desired state: what every unit of a site should be, in a revisioned key-value bucket with compare-and-set. Instances
// that were away read it when they return.
import { z } from 'zod'
import {
  type Bucket,
  type BucketEntry,
  type Bus,
  bucket,
  bucketStream,
  failure,
  MyelinError,
  nameOf,
  perConnection,
  streamInfo,
} from '../bus/internal.ts'
import { logLevels } from './command.ts'

const opened = perConnection(() => ({}) as { states?: DesiredStates })
const tries = 10

export const Desired = z.object({
  state: z.enum(['running', 'paused', 'stopped']).default('running'),
  /** Keys that replace those of the composition. */
  config: z.record(z.string(), z.unknown()).optional(),
  /** `config` is the whole configuration. */
  exact: z.boolean().optional(),
  /** Another one with every change of `config`: an instance is configured once for each. */
  configId: z.string().optional(),
  replicas: z.number().int().min(0).max(1_000).optional(),
  logLevel: z.enum(logLevels).optional(),
  /** Fencing token of the controller that wrote it last; absent: a person did. */
  token: z.number().int().optional(),
  by: z.string().default(''),
  at: z.string().default(''),
})
export type Desired = z.infer<typeof Desired>
/** A key that is there and undefined is taken away. */
export type DesiredPatch = {
  readonly [Key in 'state' | 'config' | 'exact' | 'replicas' | 'logLevel']?: Desired[Key] | undefined
}

/** A unit's desired state and the revision it has. */
export interface DesiredEntry {
  readonly site: string
  readonly unit: string
  readonly desired: Desired
  readonly revision: number
}

export class DesiredStates {
  readonly #bucket: Bucket<Desired>
  private constructor(bucket: Bucket<Desired>) {
    this.#bucket = bucket
  }

  /** Opened once per connection. @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH */
  static async open(bus: Bus): Promise<DesiredStates> {
    const { states: known } = opened(bus)
    if (known) return known
    // what does not fit the schema, or came from another stream, is nothing that anyone should follow
    const states = new DesiredStates(await bucket(bus, nameOf('bucket', 'DESIRED'), { history: 10, schema: Desired }))
    opened(bus).states = states
    return states
  }

  /** The same for who may not make it: undefined until a controller has. @throws MyelinError JETSTREAM_DISABLED */
  static async find(bus: Bus): Promise<DesiredStates | undefined> {
    const { states: known } = opened(bus)
    if (known) return known
    return (await streamInfo(bus, bucketStream(nameOf('bucket', 'DESIRED')))) && DesiredStates.open(bus)
  }

  async get(site: string, unit: string): Promise<DesiredEntry | undefined> {
    return toEntry(await this.#bucket.get(`${site}.${unit}`))
  }

  async all(): Promise<DesiredEntry[]> {
    const found = (await this.#bucket.entries()).flatMap((entry) => toEntry(entry) ?? [])
    return found.sort((a, b) => `${a.site}.${a.unit}`.localeCompare(`${b.site}.${b.unit}`))
  }

  /**
   * Changes a unit's desired state and resolves with what it is then. With `expected`, only when that is its revision;
   * with `token`, only when no later controller wrote it.
   * @throws MyelinError STALE_REVISION, FENCED
   */
  async patch(
    site: string,
    unit: string,
    patch: DesiredPatch,
    by: string,
    { expected, token }: { expected?: number | undefined; token?: number | undefined } = {},
  ): Promise<DesiredEntry> {
    const key = `${site}.${unit}`
    for (let attempt = 1; ; attempt++) {
      // of what was removed, or counts for nothing, the revision is known all the same
      const { value, revision: last } = await this.#bucket.get(key)
      const revision = value === undefined ? 0 : last
      if (expected !== undefined && expected !== revision) {
        throw failure('STALE_REVISION', `desired state of ${key} has revision ${revision}, not ${expected}`)
      }
      const before: Desired = value ?? { state: 'running', by: '', at: '' }
      if (token !== undefined && (before.token ?? 0) > token) {
        throw failure(
          'FENCED',
          `${key} was changed by a later controller (token ${before.token}, this one has ${token})`,
        )
      }
      const fence = token ?? before.token
      const desired: Desired = {
        ...before,
        ...patch,
        ...configured(before, patch),
        ...(fence === undefined ? {} : { token: fence }),
        by,
        at: new Date().toISOString(),
      }
      try {
        return { site, unit, desired, revision: await this.#bucket.update(key, desired, last) }
      } catch (error) {
        const beaten = error instanceof MyelinError && error.code === 'WRONG_SEQUENCE'
        if (!beaten || attempt >= tries) throw error // else look again
      }
    }
  }

  async remove(site: string, unit: string): Promise<void> {
    await this.#bucket.delete(`${site}.${unit}`)
  }

  /** Calls for every change, beginning with what there is. Resolves when that has been told; call the result to stop. */
  async watch(onChange: (entry: DesiredEntry) => void): Promise<() => void> {
    const watching = await this.#bucket.watch((entry) => {
      const read = toEntry(entry)
      if (read) onChange(read)
    })
    return () => void watching.stop()
  }
}

/** What a patch makes of the configuration. */
function configured(before: Desired, patch: DesiredPatch): Pick<Desired, 'state' | 'config' | 'exact' | 'configId'> {
  const state = patch.state ?? before.state
  if (!('config' in patch)) return { state }
  const { config } = patch
  const onTop = config !== undefined && patch.exact === undefined && before.exact === true
  const exact = config !== undefined && (patch.exact ?? before.exact)
  return {
    state,
    config: onTop ? { ...before.config, ...config } : config,
    exact: exact || undefined,
    configId: config && crypto.randomUUID().slice(0, 8),
  }
}

function toEntry({ key, value, revision }: BucketEntry<Desired>): DesiredEntry | undefined {
  const [site = '', unit = ''] = key.split('.')
  return value && { site, unit, desired: value, revision }
}
