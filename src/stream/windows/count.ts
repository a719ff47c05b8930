// Windows of a number of events: time plays no part, so there is nothing to be late for.
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import type { Aggregation, States } from './aggregation.ts'
import { KeyedState } from './keyed-state.ts'
import type { CountShape } from './shapes.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

interface Filling {
  events: number
  firstMs: number
  lastMs: number
  readonly states: States
}

type SavedFilling = readonly [events: number, firstMs: number, lastMs: number, states: unknown[]]

// records: [key, events, firstMs, lastMs, states]
export class CountWindows<T> implements Operator, WindowOperator<T> {
  readonly #size: number
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #keys: KeyedState<Filling>
  readonly nextMs = Number.POSITIVE_INFINITY
  open = 0

  constructor(dataflow: Dataflow, shape: CountShape, plan: WindowPlan<T>) {
    this.#size = shape.events
    this.#plan = plan
    const { aggregation } = plan
    this.#aggregation = aggregation
    this.#keys = new KeyedState(dataflow, 'windows', {
      save: ({ events, firstMs, lastMs, states }): SavedFilling => [events, firstMs, lastMs, aggregation.save(states)],
      load: (saved) => {
        const [events, firstMs, lastMs, states] = saved as SavedFilling
        return { events, firstMs, lastMs, states: aggregation.load(states) }
      },
    })
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
    this.#keys.touch(key)
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
    this.#keys.admit(key)
    const filling = { events: 0, firstMs: timeMs, lastMs: timeMs, states }
    this.#keys.set(key, filling)
    return filling
  }

  advance(): void {
    // only the number of events matters
  }

  save(everything: boolean): Iterable<StateRecord> {
    return this.#keys.save(everything)
  }
  restore(record: StateRecord): void {
    this.#keys.restore(record)
  }

  restored(): void {
    this.open = 0
    for (const [, { events }] of this.#keys.entries()) this.open += events
  }
}
