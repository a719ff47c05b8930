// The words of a program: map, filter, branch, time, keyBy, window, aggregate. Each makes a new immutable value that
// knows how to wire itself into a running circuit; nothing happens until a processor starts.
import { failure } from '../bus/index.ts'
import { type Duration, durationMs, subjectToken } from '../contract/index.ts'
import type { Aggregated, AnyAggregate } from './aggregates.ts'
import type { Circuit, Push } from './circuit.ts'
import type { Effect, EffectPlan } from './effects.ts'
import { type WindowShape, Windows } from './windows.ts'

/** Connects an operator's output to what comes after it; gives back what to feed. */
export type Wire<T> = (circuit: Circuit, next: Push<T>) => Push<unknown>

/** What all parts of one program share while it is described. */
export interface Plan {
  readonly effects: EffectPlan[]
}

/** A side line's end; see {@link Stream.branch}. */
export class End {
  /** @internal */
  readonly wire: (circuit: Circuit) => Push<unknown>
  /** @internal Use {@link Stream.to}. */
  constructor(wire: (circuit: Circuit) => Push<unknown>) {
    this.wire = wire
  }
}

/** Values of one type, in the order of the input. */
export class Stream<T> {
  readonly #plan: Plan
  readonly #wire: Wire<T>

  /** @internal Use `processor`. */
  constructor(plan: Plan, wire: Wire<T>) {
    this.#plan = plan
    this.#wire = wire
  }

  /** Each value changed into another. `change` must depend on nothing but the value. */
  map<Out>(change: (value: T) => Out): Stream<Out> {
    return new Stream(this.#plan, (circuit, next) =>
      this.#wire(circuit, (value, timeMs) => next(change(value), timeMs)),
    )
  }

  /** Only values for which `test` holds. */
  filter(test: (value: T) => boolean): Stream<T> {
    return new Stream(this.#plan, (circuit, next) =>
      this.#wire(circuit, (value, timeMs) => {
        if (test(value)) next(value, timeMs)
      }),
    )
  }

  /**
   * A side line for the values for which `test` holds; the main line goes on with all of them.
   * @example departed.branch((f) => f.delay > 180, (long) => long.to(job(rebooking, 'rebook', { id: (f) => `flight-${f.id}` })))
   */
  branch(test: (value: T) => boolean, side: (branch: Stream<T>) => End): Stream<T> {
    const root = new Stream<T>(this.#plan, (_circuit, next) => next as Push<unknown>)
    const end = side(root)
    return new Stream(this.#plan, (circuit, next) => {
      const aside = end.wire(circuit)
      return this.#wire(circuit, (value, timeMs) => {
        if (test(value)) aside(value, timeMs)
        next(value, timeMs)
      })
    })
  }

  /** Ends a side line: something is done outside for every value, at least once; see {@link Effect}. */
  to(effect: Effect<T>): End {
    const number = this.#plan.effects.length
    this.#plan.effects.push(effect as Effect<never>)
    return new End((circuit) => {
      circuit.describe(`to(${effect.name})`)
      return this.#wire(circuit, (value) => circuit.startEffect(number, value))
    })
  }

  /**
   * Event time: when a value happened, as unix ms, Date or ISO 8601 text. The watermark follows the latest time seen,
   * `outOfOrder` behind it: events may be that much out of order without being late. A value without a valid time is
   * counted as bad and left out.
   */
  time(of: (value: T) => number | string | Date, options: { outOfOrder?: Duration } = {}): TimedStream<T> {
    const outOfOrderMs = durationMs(options.outOfOrder ?? 0, 'time: outOfOrder')
    return new TimedStream((circuit, next) => {
      circuit.describe(`time(outOfOrder ${outOfOrderMs})`)
      let text = ''
      let textMs = 0
      return this.#wire(circuit, (value, _timeMs) => {
        const at = of(value)
        let timeMs: number
        if (typeof at === 'string') {
          // events in order often share their time: parsing it again would be a third of this operator's cost
          if (at !== text) {
            textMs = Date.parse(at)
            text = at
          }
          timeMs = textMs
        } else timeMs = typeof at === 'number' ? at : at.getTime()
        if (!Number.isFinite(timeMs)) {
          throw failure('INVALID_INPUT', `no event time: ${JSON.stringify(at)} is not a date`)
        }
        next(value, timeMs)
        circuit.advance(timeMs - outOfOrderMs)
      })
    })
  }
}

/** Values that have their event time. */
export class TimedStream<T> {
  readonly #wire: Wire<T>
  /** @internal */
  constructor(wire: Wire<T>) {
    this.#wire = wire
  }

  /** What belongs together. The key becomes a part of the view's subject: text without blanks, dots and wildcards. */
  keyBy(of: (value: T) => string | number): KeyedStream<T> {
    return new KeyedStream(this.#wire, of)
  }
}

/** Values that have their event time and key. */
export class KeyedStream<T> {
  readonly #wire: Wire<T>
  readonly #keyOf: (value: T) => string | number
  /** @internal */
  constructor(wire: Wire<T>, keyOf: (value: T) => string | number) {
    this.#wire = wire
    this.#keyOf = keyOf
  }

  /**
   * Cuts each key's values into windows. `lateness`: how long after its end a window still takes late events; each of
   * them sends its row out again. `as`: what the row calls the window's start.
   */
  window<As extends string = 'start'>(
    shape: WindowShape,
    options: { lateness?: Duration; as?: As } = {},
  ): WindowedStream<T, As> {
    const latenessMs = durationMs(options.lateness ?? 0, 'window: lateness')
    return new WindowedStream(this.#wire, this.#keyOf, shape, latenessMs, (options.as ?? 'start') as As)
  }
}

/** Windows of values, to be aggregated. */
export class WindowedStream<T, As extends string> {
  readonly #wire: Wire<T>
  readonly #keyOf: (value: T) => string | number
  readonly #shape: WindowShape
  readonly #latenessMs: number
  readonly #as: As

  /** @internal */
  constructor(wire: Wire<T>, keyOf: (value: T) => string | number, shape: WindowShape, latenessMs: number, as: As) {
    this.#wire = wire
    this.#keyOf = keyOf
    this.#shape = shape
    this.#latenessMs = latenessMs
    this.#as = as
  }

  /** One row per key and window: the window's start (ISO 8601) and each aggregate under its name. */
  aggregate<Aggregates extends Record<string, AnyAggregate<T>>>(
    aggregates: Aggregates,
  ): Rows<{ [Name in As]: string } & Aggregated<Aggregates>> {
    const names = Object.keys(aggregates)
    return new Rows((circuit) => {
      circuit.describe(`${this.#shape.description} lateness ${this.#latenessMs} as ${this.#as}: ${names.join(', ')}`)
      const windows = new Windows<T>(
        circuit,
        this.#shape,
        this.#latenessMs,
        Object.values(aggregates),
        (key, startMs, results) => {
          const value: Record<string, unknown> = { [this.#as]: isoText(startMs) }
          for (let i = 0; i < names.length; i++) value[names[i]!] = results[i]
          circuit.rows.push({ key, value })
        },
      )
      circuit.add(windows)
      const known = new Set<string>()
      return this.#wire(circuit, (value, timeMs) => {
        const key = String(this.#keyOf(value))
        if (!known.has(key)) {
          subjectToken(key, 'keyBy')
          if (known.size < 100_000) known.add(key)
        }
        windows.push(key, value, timeMs)
      })
    })
  }
}

/** A program's output: rows under a key. */
export class Rows<Row> {
  /** @internal */
  readonly wire: (circuit: Circuit) => Push<unknown>
  /** @internal carries the row's type */
  declare readonly row: Row
  /** @internal */
  constructor(wire: (circuit: Circuit) => Push<unknown>) {
    this.wire = wire
  }
}

/** `2001-01-01T05:00:00Z`; milliseconds only where there are some. */
function isoText(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('.000Z', 'Z')
}
