// Desired state: what every unit of a site should be, in a revisioned key-value bucket with compare-and-set. Instances
// that were away read it when they return.
import { type KV, type KvEntry, Kvm } from '@nats-io/kv'
import { z } from 'zod'
import { type Bus, failure, messageOf, nameOf } from '../bus/index.ts'
import { logLevels } from './command.ts'
import { keysOf } from './keys.ts'
import { republished } from './republished.ts'

const opened = new WeakMap<Bus, DesiredStates>()
const bucket = nameOf('bucket', 'DESIRED')
const tries = 10

export const Desired = z.object({
  state: z.enum(['running', 'paused', 'stopped']).default('running'),
  /** Keys that replace those of the composition. */
  config: z.record(z.string(), z.unknown()).optional(),
  replicas: z.number().int().min(0).max(1_000).optional(),
  logLevel: z.enum(logLevels).optional(),
  /** Fencing token of the controller that wrote it last; absent: a person did. */
  token: z.number().int().optional(),
  by: z.string().default(''),
  at: z.string().default(''),
})
export type Desired = z.infer<typeof Desired>
export type DesiredPatch = Partial<Pick<Desired, 'state' | 'config' | 'replicas' | 'logLevel'>>

/** A unit's desired state and the revision it has. */
export interface DesiredEntry {
  readonly site: string
  readonly unit: string
  readonly desired: Desired
  readonly revision: number
}

export class DesiredStates {
  readonly #bus: Bus
  readonly #kv: KV
  private constructor(bus: Bus, kv: KV) {
    this.#bus = bus
    this.#kv = kv
  }

  /** Opened once per connection. @throws MyelinError JETSTREAM_DISABLED */
  static async open(bus: Bus): Promise<DesiredStates> {
    const known = opened.get(bus)
    if (known) return known
    await bus.whenConnected()
    try {
      const states = new DesiredStates(bus, await new Kvm(bus.nats).create(bucket, { history: 10 }))
      opened.set(bus, states)
      return states
    } catch (cause) {
      throw failure('JETSTREAM_DISABLED', `the control plane keeps its state in a bucket: ${messageOf(cause)}`, {
        cause,
      })
    }
  }

  async get(site: string, unit: string): Promise<DesiredEntry | undefined> {
    const entry = await this.#kv.get(`${site}.${unit}`)
    return entry ? toEntry(entry) : undefined
  }

  async all(): Promise<DesiredEntry[]> {
    const keys = await keysOf(this.#bus, bucket)
    const entries = await Promise.all(keys.map((key) => this.#kv.get(key)))
    const found = entries.flatMap((entry) => (entry && toEntry(entry)) ?? [])
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
      const now = await this.get(site, unit)
      const revision = now?.revision ?? 0
      if (expected !== undefined && expected !== revision) {
        throw failure('STALE_REVISION', `desired state of ${key} has revision ${revision}, not ${expected}`)
      }
      const before: Desired = now?.desired ?? { state: 'running', by: '', at: '' }
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
        ...(fence === undefined ? {} : { token: fence }),
        by,
        at: new Date().toISOString(),
      }
      try {
        const written = await this.#kv.put(key, JSON.stringify(desired), {
          previousSeq: now ? revision : await this.#last(key),
        })
        return { site, unit, desired, revision: written }
      } catch (error) {
        if (!/wrong last sequence/i.test(messageOf(error)) || attempt >= tries) throw error
        // somebody else was faster: look again
      }
    }
  }

  /** A key that was removed still has a sequence. */
  async #last(key: string): Promise<number> {
    return (await this.#kv.get(key))?.revision ?? 0
  }

  async remove(site: string, unit: string): Promise<void> {
    await this.#kv.purge(`${site}.${unit}`)
  }

  /** Calls for every change, beginning with what there is. Resolves when that has been told; call the result to stop. */
  async watch(onChange: (entry: DesiredEntry) => void): Promise<() => void> {
    const watching = await this.#kv.watch()
    void (async () => {
      for await (const entry of watching) {
        const read = toEntry(entry)
        if (read) onChange(read)
      }
    })().catch(() => undefined) // the connection closed
    return () => watching.stop()
  }
}

function toEntry(entry: KvEntry): DesiredEntry | undefined {
  if (entry.operation !== 'PUT' || republished(entry)) return undefined
  const [site = '', unit = ''] = entry.key.split('.')
  const parsed = Desired.safeParse(readJson(entry.string()))
  // somebody wrote something else there: nothing that anyone should follow
  return parsed.success ? { site, unit, desired: parsed.data, revision: entry.revision } : undefined
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
