// Who runs which partition. Instances of a processor see each other in a key-value bucket; each takes its fair share of
// the partitions, gives some back when others come, and takes over those of who is gone. No clocks are compared: an
// instance is gone when its key has not changed for a whole term by the watcher's own watch.
// This is for getting work done, not for its being right: an instance that runs a partition which is another's by now is
// refused by the streams it writes.
import {
  type Bucket,
  type BucketEntry,
  type Bus,
  bucket,
  isRecord,
  messageOf,
  nameOf,
  timerMs,
} from '../bus/internal.ts'
import { type Logger, openAll } from '../unit/internal.ts'

const open = (bus: Bus) => bucket<Presence | Owner>(bus, nameOf('bucket', 'PARTITIONS'))

/** Forgets who ran the partitions of a processor that is gone. */
export async function forgetAssignment(bus: Bus, processor: string): Promise<void> {
  const assignments = await open(bus)
  for (const key of await assignments.keys(`${processor}.>`)) await assignments.delete(key)
}

const retryMs = 5_000

export interface AssignmentOptions {
  readonly processor: string
  readonly instance: string
  readonly partitions: number
  readonly log: Logger
  /** After how long without a sign of life an instance is replaced. */
  readonly termMs: number
  /** Runs a partition. A rejection gives it back. */
  readonly assign: (partition: number) => Promise<void>
  /** Stops running it, with its place written down. */
  readonly revoke: (partition: number) => Promise<void>
  /** For the others: input before this is not needed by the partitions that run here. */
  readonly lowWatermarks: () => Readonly<Record<string, number>>
}

interface Owner {
  readonly holder: string
  readonly ended?: boolean
}

interface Seen<Value> {
  readonly value: Value
  readonly revision: number
  readonly at: number
}

interface Presence {
  readonly lowWatermarks: Readonly<Record<string, number>>
}

export class Assignment {
  readonly #bucket: Bucket<Presence | Owner>
  readonly #options: AssignmentOptions
  readonly #members = new Map<string, Seen<Presence>>()
  readonly #owners = new Map<number, Seen<Owner>>()
  readonly #assigned = new Set<number>()
  /** Partitions that could not be run here are tried again after a while. */
  readonly #notBefore = new Map<number, number>()
  readonly #ended = Promise.withResolvers<void>()
  #stopWatching: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #turning: Promise<void> | undefined
  #again = false
  #stopped = false
  #joined = false

  private constructor(bucket: Bucket<Presence | Owner>, options: AssignmentOptions) {
    this.#bucket = bucket
    this.#options = options
  }

  /** Joins; resolves when the first share, if any is free, is taken. @throws what `assign` rejected with */
  static async join(bus: Bus, options: AssignmentOptions): Promise<Assignment> {
    const assignment = new Assignment(await open(bus), options)
    return openAll(async (opened) => {
      opened.add(() => assignment.leave())
      await assignment.#watch()
      let refused: unknown
      await assignment.#turn((error) => {
        refused ??= error
      })
      if (refused !== undefined) throw refused
      assignment.#joined = true
      assignment.#lookForEnd()
      assignment.#timer = setInterval(() => assignment.#wake(), timerMs(options.termMs / 5))
      return assignment
    })
  }

  /** Partitions that run here. */
  get assigned(): readonly number[] {
    return [...this.#assigned].sort((a, b) => a - b)
  }
  /** Instances that share the work, this one included. */
  get members(): number {
    return this.#alive().length
  }
  /** Resolves when every partition's input has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Input before this is needed by nobody; 0 while somebody is not heard of. */
  get lowWatermark(): number {
    const lowest = new Map(Object.entries(this.#options.lowWatermarks()))
    for (const id of this.#alive()) {
      for (const [partition, position] of Object.entries(this.#members.get(id)?.value.lowWatermarks ?? {})) {
        if (!lowest.has(partition)) lowest.set(partition, position)
      }
    }
    return lowest.size === this.#options.partitions ? Math.min(...lowest.values()) : 0
  }

  /** Says to the others that a partition's input has ended, or goes on. */
  async mark(partition: number, ended: boolean): Promise<void> {
    const owner = this.#owners.get(partition)
    if (!this.#assigned.has(partition) || owner?.value.ended === ended) return
    await this.#write(partition, { holder: this.#options.instance, ended })
  }

  /** A partition stopped by itself: it is free for whoever comes first. */
  async dropped(partition: number): Promise<void> {
    if (!this.#assigned.delete(partition)) return
    if (this.#owners.get(partition)?.value.holder === this.#options.instance)
      await this.#write(partition, { holder: '' })
  }

  /** Gives everything back. */
  async leave(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#turning?.catch(() => undefined)
    await Promise.all(this.assigned.map((partition) => this.#revoke(partition)))
    this.#stopWatching?.()
    await this.#bucket.delete(this.#memberKey(this.#options.instance)).catch(() => undefined)
  }

  async #watch(): Promise<void> {
    const { processor } = this.#options
    const watching = await this.#bucket.watch((entry) => this.#heard(entry), { filter: `${processor}.>` })
    this.#stopWatching = () => void watching.stop()
  }

  #heard(entry: BucketEntry<Presence | Owner>): void {
    const [, kind, name = ''] = entry.key.split('.')
    const seen = { revision: entry.revision, at: performance.now() }
    if (kind === 'm') {
      const known = this.#members.has(name)
      if (entry.value !== undefined) this.#members.set(name, { value: presenceOf(entry.value), ...seen })
      else this.#members.delete(name)
      if (known !== this.#members.has(name)) this.#wake()
      return
    }
    const owner = ownerOf(entry.value)
    this.#owners.set(Number(name), { value: owner, ...seen })
    if (owner.holder === '') this.#wake()
    this.#lookForEnd()
  }

  /** What an earlier run wrote about its end says nothing until this instance has looked for what is free. */
  #lookForEnd(): void {
    const owners = [...this.#owners.values()]
    if (this.#joined && owners.length === this.#options.partitions && owners.every(({ value }) => value.ended)) {
      this.#ended.resolve()
    }
  }

  #alive(): string[] {
    const now = performance.now()
    const { instance, termMs } = this.#options
    const others = [...this.#members].filter(([id, { at }]) => id !== instance && now - at <= termMs).map(([id]) => id)
    return [...others, instance].sort()
  }

  #wake(): void {
    if (this.#stopped || !this.#timer) return
    if (this.#turning) {
      this.#again = true
      return
    }
    this.#turning = this.#turn().finally(() => {
      this.#turning = undefined
      if (this.#again) {
        this.#again = false
        this.#wake()
      }
    })
  }

  async #turn(onRefusal?: (error: unknown) => void): Promise<void> {
    const { instance, log, processor } = this.#options
    try {
      await this.#bucket.put(this.#memberKey(instance), { lowWatermarks: this.#options.lowWatermarks() })
      const alive = this.#alive()
      await this.#giveBack(alive)
      await this.#assignFree(alive, onRefusal)
      await this.#forgetGone(alive)
    } catch (error) {
      log.debug({ err: error }, `processor '${processor}': its partitions are not looked after: ${messageOf(error)}`)
      onRefusal?.(error)
    }
  }

  /**
   * How many partitions are this instance's to run: an equal share, and what cannot be shared equally stays with those
   * who have it, so that nobody who comes makes others move more than they must.
   */
  #quota(alive: readonly string[]): number {
    const { partitions, instance } = this.#options
    const share = Math.floor(partitions / alive.length)
    const rest = partitions % alive.length
    const counts = new Map<string, number>()
    for (const { value } of this.#owners.values()) counts.set(value.holder, (counts.get(value.holder) ?? 0) + 1)
    const above = alive.filter((id) => id !== instance && (counts.get(id) ?? 0) > share)
    const before = this.#assigned.size > share ? above.filter((id) => id < instance) : above
    return share + (before.length < rest ? 1 : 0)
  }

  async #giveBack(alive: readonly string[]): Promise<void> {
    for (const partition of this.assigned) {
      // somebody took this instance for gone
      const holder = this.#owners.get(partition)?.value.holder
      if (holder !== undefined && holder !== '' && holder !== this.#options.instance) {
        this.#assigned.delete(partition)
        await this.#options.revoke(partition)
      }
    }
    const extra = this.assigned.slice(this.#quota(alive))
    await Promise.all(extra.map((partition) => this.#revoke(partition)))
  }

  async #assignFree(alive: readonly string[], onRefusal?: (error: unknown) => void): Promise<void> {
    const { partitions, instance, log, processor } = this.#options
    for (let partition = 0; partition < partitions; partition++) {
      if (this.#stopped || this.#assigned.size >= this.#quota(alive)) return
      if (this.#assigned.has(partition) || performance.now() < (this.#notBefore.get(partition) ?? 0)) continue
      const owner = this.#owners.get(partition)
      const holder = owner?.value.holder ?? ''
      // what this instance held before it died is its own again at once
      if (holder !== '' && holder !== instance && alive.includes(holder)) continue
      try {
        await this.#write(partition, { holder: instance })
      } catch {
        continue // another one was faster
      }
      this.#assigned.add(partition)
      try {
        await this.#options.assign(partition)
      } catch (error) {
        log.warn({ partition, err: error }, `processor '${processor}': partition ${partition} cannot be run here`)
        this.#notBefore.set(partition, performance.now() + retryMs)
        await this.dropped(partition).catch(() => undefined)
        onRefusal?.(error)
        return
      }
    }
  }

  async #revoke(partition: number): Promise<void> {
    await this.#options.revoke(partition)
    await this.dropped(partition).catch(() => undefined)
  }

  async #forgetGone(alive: readonly string[]): Promise<void> {
    const longAgo = performance.now() - 10 * this.#options.termMs
    for (const [id, { at }] of this.#members) {
      if (!alive.includes(id) && at < longAgo) await this.#bucket.delete(this.#memberKey(id))
    }
  }

  async #write(partition: number, owner: Owner): Promise<void> {
    const known = this.#owners.get(partition)
    const key = `${this.#options.processor}.p.${partition}`
    const revision = await this.#bucket.update(key, owner, known?.revision ?? 0)
    // the watch says the same a moment later
    if ((this.#owners.get(partition)?.revision ?? 0) < revision) {
      this.#owners.set(partition, { value: owner, revision, at: performance.now() })
    }
  }

  #memberKey(instance: string): string {
    return `${this.#options.processor}.m.${instance}`
  }
}

// what somebody else wrote into the bucket counts as nothing said
function presenceOf(value: unknown): Presence {
  return {
    lowWatermarks:
      isRecord(value) && isRecord(value.lowWatermarks) ? (value.lowWatermarks as Presence['lowWatermarks']) : {},
  }
}

function ownerOf(value: unknown): Owner {
  return isRecord(value) && typeof value.holder === 'string'
    ? { holder: value.holder, ended: value.ended === true }
    : { holder: '' }
}
