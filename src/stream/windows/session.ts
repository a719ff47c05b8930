// Session windows: for each key, events that follow each other within the gap, an event just a gap later included (as in
// Kafka Streams). An event between two sessions makes them one, which is why the aggregates must be able to merge. A
// session is over when the watermark has passed its last event by more than the gap: nothing on time can touch it then.
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import { Timers } from '../timers.ts'
import type { Aggregation, States } from './aggregation.ts'
import { KeyedState } from './keyed-state.ts'
import type { SessionShape } from './shapes.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

interface Session {
  startMs: number
  lastMs: number
  events: number
  states: States
  /** Its row has gone out as final; it is kept for late events. */
  closed: boolean
}

type SavedSession = readonly [startMs: number, lastMs: number, events: number, closed: boolean, states: unknown[]]

// records: [key, sessions]
export class SessionWindows<T> implements Operator, WindowOperator<T> {
  readonly #dataflow: Dataflow
  readonly #gapMs: number
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #keys: KeyedState<Session[]>
  readonly #timers = new Timers()
  open = 0

  constructor(dataflow: Dataflow, shape: SessionShape, plan: WindowPlan<T>) {
    this.#dataflow = dataflow
    this.#gapMs = shape.gapMs
    this.#plan = plan
    const { aggregation } = plan
    this.#aggregation = aggregation
    this.#keys = new KeyedState(dataflow, 'sessions', {
      save: (sessions) => [
        sessions.map(
          ({ startMs, lastMs, events, closed, states }): SavedSession => [
            startMs,
            lastMs,
            events,
            closed,
            aggregation.save(states),
          ],
        ),
      ],
      load: ([saved]) =>
        (saved as readonly SavedSession[]).map(([startMs, lastMs, events, closed, states]) => ({
          startMs,
          lastMs,
          events,
          closed,
          states: aggregation.load(states),
        })),
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
    const sessions = this.#keys.get(key) ?? []
    // those that the event touches become one with it
    const touched = sessions.filter(
      ({ startMs, lastMs }) => timeMs >= startMs - this.#gapMs && timeMs <= lastMs + this.#gapMs,
    )
    if (touched.length === 0) {
      if (this.#overMs(timeMs) + this.#plan.latenessMs <= this.#dataflow.watermarkOf(this.#plan.order)) {
        this.#dataflow.late += 1
        this.#plan.late?.(value, timeMs)
        return
      }
      this.#keys.admit(key)
    }
    const fresh = this.#aggregation.init()
    this.#aggregation.add(fresh, value, timeMs)
    let merged: Session = { startMs: timeMs, lastMs: timeMs, events: 1, states: fresh, closed: false }
    // in the order of time, so that what aggregates keep of an order is the same whatever came first
    for (const one of touched) merged = this.#merge(one, merged)
    this.open += touched.reduce((sum, { closed, events }) => sum + (closed ? events : 0), 1)
    const rest = sessions.filter((one) => !touched.includes(one))
    const at = rest.findIndex(({ startMs }) => startMs > merged.startMs)
    rest.splice(at < 0 ? rest.length : at, 0, merged)
    this.#keys.set(key, rest)
    const overMs = this.#overMs(merged.lastMs)
    if (overMs <= this.#dataflow.watermarkOf(this.#plan.order)) {
      this.#close(key, merged)
      this.#timers.add(overMs + this.#plan.latenessMs, key)
    } else {
      if (this.#plan.emission !== 'close') this.#emit(key, merged, false)
      this.#timers.add(overMs, key)
    }
    this.#dataflow.wakeAt(this.#timers.nextMs, this.#plan.order)
  }

  /** The watermark at which a session is over; an event of just the watermark's time may still come. */
  #overMs(lastMs: number): number {
    return lastMs + this.#gapMs + 1
  }

  #merge(a: Session, b: Session): Session {
    const [first, second] = a.startMs <= b.startMs ? [a, b] : [b, a]
    return {
      startMs: first.startMs,
      lastMs: Math.max(a.lastMs, b.lastMs),
      events: a.events + b.events,
      states: this.#aggregation.merge(first.states, second.states),
      closed: false,
    }
  }

  #close(key: string, one: Session): void {
    one.closed = true
    this.open -= one.events
    this.#keys.touch(key)
    this.#emit(key, one, true)
  }

  #emit(key: string, { startMs, lastMs, states }: Session, final: boolean): void {
    this.#plan.emit(key, startMs, lastMs + this.#gapMs, states, final)
  }

  advance(watermarkMs: number): void {
    for (const { atMs, key } of this.#timers.due(watermarkMs)) {
      const sessions = this.#keys.get(key)
      if (!sessions) continue
      const kept: Session[] = []
      for (const one of sessions) {
        const overMs = this.#overMs(one.lastMs)
        if (!one.closed && overMs <= atMs) {
          this.#close(key, one)
          this.#timers.add(overMs + this.#plan.latenessMs, key)
        }
        if (overMs + this.#plan.latenessMs > atMs) kept.push(one)
      }
      if (kept.length === sessions.length) continue
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
    for (const [key, sessions] of this.#keys.entries()) {
      for (const { lastMs, closed, events } of sessions) {
        this.#timers.add(this.#overMs(lastMs) + (closed ? this.#plan.latenessMs : 0), key)
        if (!closed) this.open += events
      }
    }
  }
}
