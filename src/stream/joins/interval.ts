// Stream–stream joins: values of the same key whose times are near enough meet. Each side is kept as long as a partner
// may come; `left` and `outer` emit those that found none when that is certain.
import { failure } from '../../bus/internal.ts'
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import { checkKept } from '../json.ts'
import { Timers } from '../timers.ts'

export type JoinKind = 'inner' | 'left' | 'outer'

interface Kept {
  readonly timeMs: number
  readonly value: unknown
  met: boolean
}

/** The two sides of one key: left, right. */
type Sides = [left: Kept[], right: Kept[]]

type SavedKept = readonly [timeMs: number, value: unknown, met: boolean]

export interface IntervalPlan {
  readonly order: number
  /** A right value may be so much older or younger than a left one. */
  readonly beforeMs: number
  readonly afterMs: number
  readonly kind: JoinKind
  readonly emit: (key: string, left: unknown, right: unknown, timeMs: number) => void
}

// records: [key, left, right]; [key]: it is gone
export class IntervalJoin implements Operator {
  readonly #dataflow: Dataflow
  readonly #plan: IntervalPlan
  readonly #keys = new Map<string, Sides>()
  readonly #changed = new Set<string>()
  readonly #timers = new Timers()
  open = 0

  constructor(dataflow: Dataflow, plan: IntervalPlan) {
    this.#dataflow = dataflow
    this.#plan = plan
  }

  get keys(): number {
    return this.#keys.size
  }
  get nextMs(): number {
    return this.#timers.nextMs
  }

  /** `side`: 0 left, 1 right. */
  push(side: 0 | 1, key: string, value: unknown, timeMs: number): void {
    const { beforeMs, afterMs, emit } = this.#plan
    if (timeMs < this.#dataflow.watermarkOf(this.#plan.order)) {
      this.#dataflow.late += 1
      return
    }
    checkKept('join: a value', value, 'given back')
    const goneMs = this.#goneMs(side, timeMs)
    const sides = this.#keys.get(key) ?? this.#admit(key)
    const mine: Kept = { timeMs, value, met: false }
    for (const other of sides[side === 0 ? 1 : 0]) {
      const [left, right] = side === 0 ? [mine, other] : [other, mine]
      if (right.timeMs < left.timeMs - beforeMs || right.timeMs > left.timeMs + afterMs) continue
      if (!other.met) this.open -= 1
      mine.met = true
      other.met = true
      emit(key, left.value, right.value, Math.max(timeMs, other.timeMs))
    }
    sides[side].push(mine)
    if (!mine.met) this.open += 1
    this.#changed.add(key)
    this.#timers.add(goneMs, key)
    this.#dataflow.wakeAt(this.#timers.nextMs, this.#plan.order)
  }

  /** When no partner can come any more; an event of just the watermark's time still can. */
  #goneMs(side: 0 | 1, timeMs: number): number {
    return timeMs + (side === 0 ? this.#plan.afterMs : this.#plan.beforeMs) + 1
  }

  #admit(key: string): Sides {
    this.#dataflow.host.ownKey?.(key)
    if (this.#keys.size >= this.#dataflow.maxKeys) {
      throw failure('TOO_MANY_KEYS', `a join has ${this.#keys.size} keys, which is the limit; "${key}" is left out`)
    }
    const sides: Sides = [[], []]
    this.#keys.set(key, sides)
    return sides
  }

  advance(watermarkMs: number): void {
    const { kind, emit } = this.#plan
    for (const { atMs, key } of this.#timers.due(watermarkMs)) {
      const sides = this.#keys.get(key)
      if (!sides) continue
      for (const side of [0, 1] as const) {
        const kept = sides[side].filter((one) => {
          if (this.#goneMs(side, one.timeMs) > atMs) return true
          if (!one.met) {
            this.open -= 1
            if (side === 0 && kind !== 'inner') emit(key, one.value, undefined, one.timeMs)
            if (side === 1 && kind === 'outer') emit(key, undefined, one.value, one.timeMs)
          }
          return false
        })
        if (kept.length === sides[side].length) continue
        sides[side] = kept
        this.#changed.add(key)
      }
      if (sides[0].length === 0 && sides[1].length === 0) this.#keys.delete(key)
    }
  }

  *save(everything: boolean): Generator<StateRecord> {
    const saved = (side: readonly Kept[]) => side.map(({ timeMs, value, met }): SavedKept => [timeMs, value, met])
    for (const key of everything ? this.#keys.keys() : this.#changed) {
      const sides = this.#keys.get(key)
      if (sides) yield [key, saved(sides[0]), saved(sides[1])]
      else yield [key]
    }
    this.#changed.clear()
  }

  restore([key, left, right]: StateRecord): void {
    if (left === undefined) {
      this.#keys.delete(key as string)
      return
    }
    const load = (side: unknown) =>
      (side as readonly SavedKept[]).map(([timeMs, value, met]) => ({ timeMs, value, met }))
    this.#keys.set(key as string, [load(left), load(right)])
  }

  restored(): void {
    this.#timers.clear()
    this.open = 0
    for (const [key, sides] of this.#keys) {
      for (const side of [0, 1] as const) {
        for (const { timeMs, met } of sides[side]) {
          this.#timers.add(this.#goneMs(side, timeMs), key)
          if (!met) this.open += 1
        }
      }
    }
  }
}
