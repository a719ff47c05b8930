// Windows of a number of events: time plays no part, so there is nothing to be late for.
import { failure } from '../../bus/internal.ts'
import { subjectToken } from '../../contract/internal.ts'
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import type { Aggregation, States } from './aggregation.ts'
import type { CountShape } from './shapes.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

interface Filling {
  events: number
  firstMs: number
  lastMs: number
  readonly states: States
}

// records: [key, events, firstMs, lastMs, states]; [key]: its window was over
export class CountWindows<T> implements Operator, WindowOperator<T> {
  readonly #dataflow: Dataflow
  readonly #size: number
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #keys = new Map<string, Filling>()
  readonly #changed = new Set<string>()
  readonly nextMs = Number.POSITIVE_INFINITY
  open = 0

  constructor(dataflow: Dataflow, shape: CountShape, plan: WindowPlan<T>) {
    this.#dataflow = dataflow
    this.#size = shape.events
    this.#plan = plan
    this.#aggregation = plan.aggregation
  }

  get keys(): number {
    return this.#keys.size
  }

  push(key: string, value: T, timeMs: number): void {
    this.#aggregation.check(value)
    const known = this.#keys.get(key)
    const states = known?.states ?? this.#aggregation.init()
    this.#aggregation.add(states, value, timeMs)
    const filling = known ?? this.#begin(key, timeMs, states)
    filling.events += 1
    filling.firstMs = Math.min(filling.firstMs, timeMs)
    filling.lastMs = Math.max(filling.lastMs, timeMs)
    this.open += 1
    this.#changed.add(key)
    const full = filling.events >= this.#size
    if (full) {
      this.#keys.delete(key)
      this.open -= filling.events
    }
    if (full || this.#plan.emission !== 'close') {
      this.#plan.emit(key, filling.firstMs, filling.lastMs, filling.states, full)
    }
  }

  #begin(key: string, timeMs: number, states: States): Filling {
    subjectToken(key, 'keyBy')
    this.#dataflow.host.ownKey?.(key)
    if (this.#keys.size >= this.#dataflow.maxKeys) {
      throw failure('TOO_MANY_KEYS', `windows have ${this.#keys.size} keys, which is the limit; "${key}" is left out`)
    }
    const filling = { events: 0, firstMs: timeMs, lastMs: timeMs, states }
    this.#keys.set(key, filling)
    return filling
  }

  advance(): void {
    // only the number of events matters
  }

  *save(everything: boolean): Generator<StateRecord> {
    for (const key of everything ? this.#keys.keys() : this.#changed) {
      const filling = this.#keys.get(key)
      if (!filling) yield [key]
      else yield [key, filling.events, filling.firstMs, filling.lastMs, this.#aggregation.save(filling.states)]
    }
    this.#changed.clear()
  }

  restore([key, events, firstMs, lastMs, states]: StateRecord): void {
    if (events === undefined) {
      this.#keys.delete(key as string)
      return
    }
    this.#keys.set(key as string, {
      events: events as number,
      firstMs: firstMs as number,
      lastMs: lastMs as number,
      states: this.#aggregation.load(states as unknown[]),
    })
  }

  restored(): void {
    this.open = [...this.#keys.values()].reduce((sum, { events }) => sum + events, 0)
  }
}
