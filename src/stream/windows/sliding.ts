// Sliding windows: for each event the window that ends with it. A row goes out when the watermark has reached its event;
// a late event sends those that it changes again.
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import { checkKept } from '../json.ts'
import { Timers } from '../timers.ts'
import type { Aggregation, States } from './aggregation.ts'
import { KeyedState } from './keyed-state.ts'
import type { SlidingShape } from './shapes.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

interface Event<T> {
  readonly timeMs: number
  readonly value: T
  emitted: boolean
}

type SavedEvent<T> = readonly [timeMs: number, value: T, emitted: boolean]

// records: [key, events]
export class SlidingWindows<T> implements Operator, WindowOperator<T> {
  readonly #dataflow: Dataflow
  readonly #sizeMs: number
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #keys: KeyedState<Event<T>[]>
  readonly #timers = new Timers()
  open = 0

  constructor(dataflow: Dataflow, shape: SlidingShape, plan: WindowPlan<T>) {
    this.#dataflow = dataflow
    this.#sizeMs = shape.sizeMs
    this.#plan = plan
    this.#aggregation = plan.aggregation
    this.#keys = new KeyedState(dataflow, 'windows', {
      save: (events) => [events.map(({ timeMs, value, emitted }): SavedEvent<T> => [timeMs, value, emitted])],
      load: ([saved]) =>
        (saved as readonly SavedEvent<T>[]).map(([timeMs, value, emitted]) => ({ timeMs, value, emitted })),
    })
  }

  get keys(): number {
    return this.#keys.size
  }
  get nextMs(): number {
    return this.#timers.nextMs
  }

  push(key: string, value: T, timeMs: number): void {
    this.#aggregation.check(value)
    const watermarkMs = this.#dataflow.watermarkOf(this.#plan.order)
    if (timeMs + this.#plan.latenessMs < watermarkMs) {
      this.#dataflow.late += 1
      this.#plan.late?.(value, timeMs)
      return
    }
    checkKept('sliding window: an event', value, 'given back')
    let events = this.#keys.get(key)
    if (!events) {
      this.#keys.admit(key)
      events = []
      this.#keys.set(key, events)
    }
    const event: Event<T> = { timeMs, value, emitted: false }
    let at = events.length
    while (at > 0 && events[at - 1]!.timeMs > timeMs) at -= 1
    events.splice(at, 0, event)
    this.#keys.touch(key)
    this.open += 1
    const behind = timeMs < watermarkMs
    if (behind) {
      // its own row, and again those of events that have it in their window
      for (const other of events) {
        const has = other.emitted && other.timeMs >= timeMs && other.timeMs - this.#sizeMs < timeMs
        if (has || other === event) this.#emit(key, events, other, true)
      }
    } else if (this.#plan.emission !== 'close') this.#emit(key, events, event, false)
    this.#timers.add(behind ? timeMs + this.#keptMs : timeMs + 1, key)
    this.#dataflow.wakeAt(this.#timers.nextMs, this.#plan.order)
  }

  /** How long an event is needed after its time: by windows that it is in, and by late events. */
  get #keptMs(): number {
    return this.#sizeMs + this.#plan.latenessMs
  }

  #emit(key: string, events: readonly Event<T>[], event: Event<T>, final: boolean): void {
    if (final && !event.emitted) {
      event.emitted = true
      this.open -= 1
      this.#keys.touch(key)
    }
    const fromMs = event.timeMs - this.#sizeMs
    let states: States
    try {
      states = this.#aggregation.init()
      for (const { timeMs, value } of events) {
        if (timeMs > event.timeMs) break
        if (timeMs > fromMs) this.#aggregation.add(states, value, timeMs)
      }
    } catch (error) {
      this.#dataflow.host.reject(error)
      return
    }
    this.#plan.emit(key, fromMs, event.timeMs, states, final)
  }

  advance(watermarkMs: number): void {
    for (const { atMs, key } of this.#timers.due(watermarkMs)) {
      const events = this.#keys.get(key)
      if (!events) continue
      for (const event of events) {
        // an event of just the watermark's time may still come
        if (event.emitted || event.timeMs >= atMs) continue
        this.#emit(key, events, event, true)
        this.#timers.add(event.timeMs + this.#keptMs, key)
      }
      const kept = events.filter(({ timeMs }) => timeMs + this.#keptMs > atMs)
      if (kept.length === events.length) continue
      if (kept.length > 0) this.#keys.set(key, kept)
      else this.#keys.delete(key)
    }
  }

  save(everything: boolean): Iterable<StateRecord> {
    return this.#keys.save(everything)
  }
  restore(record: StateRecord): void {
    this.#keys.restore(record)
  }

  restored(): void {
    this.#timers.clear()
    this.open = 0
    for (const [key, events] of this.#keys.entries()) {
      for (const { timeMs, emitted } of events) {
        this.#timers.add(emitted ? timeMs + this.#keptMs : timeMs + 1, key)
        if (!emitted) this.open += 1
      }
    }
  }
}
