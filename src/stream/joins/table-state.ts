// A table: the latest value of each key, or, with history, the value that a key had at a time.
import { failure } from '../../bus/internal.ts'
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import { checkKept } from '../json.ts'

type Version = readonly [timeMs: number, value: unknown]

export interface TableStatePlan {
  readonly order: number
  /** How long a value is kept after it was replaced; 0: not at all. */
  readonly historyMs: number
  /** Its times are event times, as the watermark is. */
  readonly timed: boolean
}

// records: [key, versions]; [key]: it was removed and forgotten
export class TableState implements Operator {
  readonly #dataflow: Dataflow
  readonly #plan: TableStatePlan
  readonly #historyMs: number
  /** How far behind the watermark somebody may still ask. */
  #behindMs = 0
  readonly #keys = new Map<string, Version[]>()
  readonly #changed = new Set<string>()
  readonly nextMs = Number.POSITIVE_INFINITY
  readonly open = 0

  constructor(dataflow: Dataflow, plan: TableStatePlan) {
    this.#dataflow = dataflow
    this.#plan = plan
    this.#historyMs = plan.historyMs
  }

  get keys(): number {
    return this.#keys.size
  }

  /** Somebody asks for times that are so far behind the watermark. */
  keep(behindMs: number): void {
    this.#behindMs = Math.max(this.#behindMs, behindMs)
  }

  /** Undefined removes the key, from that time on. */
  put(key: string, value: unknown, timeMs: number): void {
    const versions = this.#keys.get(key)
    if (!versions && value === undefined) return
    if (value !== undefined) checkKept('table: a value', value, 'given back')
    if (!versions && this.#keys.size >= this.#dataflow.maxKeys) {
      throw failure('TOO_MANY_KEYS', `a table has ${this.#keys.size} keys, which is the limit; "${key}" is left out`)
    }
    this.#changed.add(key)
    if (this.#historyMs === 0) {
      if (value === undefined) this.#keys.delete(key)
      else this.#keys.set(key, [[timeMs, value]])
      return
    }
    const kept = versions ?? []
    let at = kept.length
    while (at > 0 && kept[at - 1]![0] > timeMs) at -= 1
    // a correction of the same moment replaces what was said of it
    if (at > 0 && kept[at - 1]![0] === timeMs) kept.splice(at - 1, 1, [timeMs, value])
    else kept.splice(at, 0, [timeMs, value])
    // the one that was valid when history begins is needed, those before it are not
    const oldestMs = this.#untilMs(kept.at(-1)![0]) - this.#historyMs
    let drop = 0
    while (drop + 1 < kept.length && kept[drop + 1]![0] <= oldestMs) drop += 1
    kept.splice(0, drop)
    this.#keys.set(key, kept)
  }

  /**
   * What history is counted back from. Of event times that is the watermark: a value that is on time, and waits, finds
   * what was valid at its own time, whatever a later version has come before it.
   */
  #untilMs(latestMs: number): number {
    if (!this.#plan.timed) return latestMs
    return Math.min(latestMs, this.#dataflow.watermarkOf(this.#plan.order) - this.#behindMs)
  }

  /** The latest value. */
  latest(key: string): unknown {
    return this.#keys.get(key)?.at(-1)?.[1]
  }

  /** The value as of a time; without history the latest. */
  at(key: string, timeMs: number): unknown {
    if (this.#historyMs === 0) return this.latest(key)
    return this.#keys.get(key)?.findLast(([sinceMs]) => sinceMs <= timeMs)?.[1]
  }

  advance(): void {
    // nothing happens to a table by the passing of time
  }

  *save(everything: boolean): Generator<StateRecord> {
    for (const key of everything ? this.#keys.keys() : this.#changed) {
      const versions = this.#keys.get(key)
      // JSON has no undefined: a removal is a version without a value
      if (versions) yield [key, versions.map(([timeMs, value]) => (value === undefined ? [timeMs] : [timeMs, value]))]
      else yield [key]
    }
    this.#changed.clear()
  }

  restore([key, saved]: StateRecord): void {
    if (saved === undefined) this.#keys.delete(key as string)
    else {
      const versions = saved as readonly (readonly unknown[])[]
      this.#keys.set(
        key as string,
        versions.map(([timeMs, value]): Version => [timeMs as number, value]),
      )
    }
  }

  restored(): void {
    // nothing waits
  }
}
