// Values in the order of the input: what can be done with each of them by itself.
import { failure, parseTime, timeForm } from '../../bus/internal.ts'
import { type Duration, durationMs } from '../../contract/internal.ts'
import type { Dataflow, Push } from '../dataflow.ts'
import type { Effect } from '../effects.ts'
import { KeyedStream } from './keyed.ts'
import { type Build, behindOf, Node, Sink } from './node.ts'

/** Whether a stream's values have their event time. */
export type Timing = 'timed' | 'untimed'

export interface TimeOptions {
  /** How much events may be out of order without being late. Default 0. */
  readonly outOfOrder?: Duration
  /**
   * Of a program with several times: one whose events stay out for so long, by the server's clock, holds up the others
   * no more. Default 1 minute.
   */
  readonly idle?: Duration
  /**
   * An event that claims to happen so long after it was stored is refused: one wrong year must not close all windows.
   * Default 1 day; `false` allows everything.
   */
  readonly maxAhead?: Duration | false
}

/** Values of one type, in the order of the input. */
export class Stream<T, Time extends Timing = 'untimed'> {
  /** @internal */
  readonly node: Node<T>
  /** @internal carries whether there is an event time */
  declare readonly timing: Time

  /** @internal Use `processor`. */
  constructor(node: Node<T>) {
    this.node = node
  }

  /** Each value changed into another. `change` must depend on nothing but the value. */
  map<Out>(change: (value: T) => Out): Stream<Out, Time> {
    return this.#step((_dataflow, out, follow) => follow((value, timeMs) => out(change(value), timeMs)))
  }

  /** Only values for which `test` holds. */
  filter<Kept extends T>(test: (value: T) => value is Kept): Stream<Kept, Time>
  filter(test: (value: T) => boolean): Stream<T, Time>
  filter(test: (value: T) => boolean): Stream<T, Time> {
    return this.#step((_dataflow, out, follow) =>
      follow((value, timeMs) => {
        if (test(value)) out(value, timeMs)
      }),
    )
  }

  /** Each value changed into any number of others. */
  flatMap<Out>(change: (value: T) => Iterable<Out>): Stream<Out, Time> {
    return this.#step((_dataflow, out, follow) =>
      follow((value, timeMs) => {
        for (const one of change(value)) out(one, timeMs)
      }),
    )
  }

  /** Looks at each value; for logs and counters. After a crash it sees some values again. */
  peek(look: (value: T) => void): Stream<T, Time> {
    return this.#step((dataflow, out, follow) =>
      follow((value, timeMs) => {
        if (!dataflow.scouting) look(value)
        out(value, timeMs)
      }),
    )
  }

  /** Values of both, in the order of the input. */
  merge<Other>(other: Stream<Other, Time>): Stream<T | Other, Time> {
    const [mine, others] = [this.node.follow(), other.node.follow()]
    const sources = new Set([...mine.sources, ...others.sources])
    return new Stream(
      new Node<T | Other>(mine.plan, sources, behindOf(mine, others), (dataflow, out) => {
        mine.connect(dataflow, out)
        others.connect(dataflow, out)
      }),
    )
  }

  /**
   * A side output for the values for which `test` holds; the stream itself goes on with all of them.
   * @example departed.branch((f) => f.delay > 180, (long) => long.to(job(rebooking, 'rebook', { id: (f) => `flight-${f.id}` })))
   */
  branch(test: (value: T) => boolean, side: (branch: Stream<T, Time>) => Sink): Stream<T, Time> {
    const root = this.node.sideOutput()
    const sink = side(new Stream(root))
    const branched = this.#step<T>((dataflow, out, follow) => {
      if (!dataflow.scouting) sink.connect(dataflow)
      const sideOutput = dataflow.inputs(root)
      follow((value, timeMs) => {
        if (test(value)) for (const push of sideOutput) push(value, timeMs)
        out(value, timeMs)
      })
    })
    this.node.plan.branches.push(branched.node as Node<never>)
    return branched
  }

  /** Ends a branch of the program: something is done outside for every value, at least once; see {@link Effect}. */
  to(effect: Effect<T>): Sink {
    const node = this.node.follow()
    const { effects } = node.plan
    const order = node.plan.nextOrder()
    const number = effects.push(effect as Effect<never>) - 1
    return new Sink((dataflow) => {
      dataflow.describe(order, `to(${effect.name})`)
      node.connect(dataflow, (value) => dataflow.host.startEffect(number, value))
    })
  }

  /**
   * Event time: when a value happened, as unix ms, Date or RFC 3339 text with a zone, in the years 0000 to 9999; cut to
   * whole ms. `'stored'`: when the server stored it (processing time). The watermark follows the latest time seen,
   * `outOfOrder` behind it. A value without such a time goes to the error output.
   */
  time(of: ((value: T) => number | string | Date) | 'stored', options: TimeOptions = {}): Stream<T, 'timed'> {
    const outOfOrderMs = durationMs(options.outOfOrder ?? 0, 'time: outOfOrder')
    const idleMs = durationMs(options.idle ?? '1m', 'time: idle')
    const aheadMs =
      options.maxAhead === false ? Number.POSITIVE_INFINITY : durationMs(options.maxAhead ?? '1d', 'time: maxAhead')
    const { plan, sources } = this.node
    const order = plan.nextOrder()
    const timed = new Stream<T, 'timed'>(
      this.node.step<T>((dataflow, out, follow) => {
        dataflow.describe(order, `time(${of === 'stored' ? 'stored, ' : ''}outOfOrder ${outOfOrderMs})`)
        const clock = dataflow.clock(sources, idleMs, order)
        const read = of === 'stored' ? () => dataflow.storedMs : timeReader(of)
        follow(ticking(dataflow, clock, read, out, { outOfOrderMs, aheadMs }))
      }, 0),
    )
    plan.times.push(timed.node as Node<never>)
    return timed
  }

  /** What belongs together. A key that becomes a part of a view's subject is text without blanks, dots and wildcards. */
  keyBy(of: (value: T) => string | number): KeyedStream<T, Time> {
    return new KeyedStream(this.node, of)
  }

  #step<Out>(build: Build<T, Out>): Stream<Out, Time> {
    return new Stream<Out, Time>(this.node.step<Out>(build))
  }
}

function ticking<T>(
  dataflow: Dataflow,
  clock: number,
  read: (value: T) => number,
  out: Push<T>,
  { outOfOrderMs, aheadMs }: { outOfOrderMs: number; aheadMs: number },
): Push<T> {
  const { span } = dataflow.host
  return (value) => {
    const timeMs = read(value)
    if (timeMs > dataflow.storedMs + aheadMs) {
      throw failure(
        'INVALID_INPUT',
        `event time ${new Date(timeMs).toISOString()} is ${Math.round((timeMs - dataflow.storedMs) / 1_000)} s after the event was stored, which is more than time's maxAhead`,
      )
    }
    if (span === undefined) out(value, timeMs)
    else if (timeMs >= span.fromMs && timeMs < span.untilMs) out(value, timeMs)
    dataflow.tick(clock, timeMs - outOfOrderMs)
  }
}

/** Reads times; of texts in order many are the same, and parsing each again would be a third of this step's cost. */
function timeReader<T>(of: (value: T) => number | string | Date): (value: T) => number {
  let text: string | undefined
  let textMs = Number.NaN
  return (value) => {
    const at: unknown = of(value)
    if (typeof at === 'string' && at === text) return textMs
    const timeMs = parseTime(at)
    if (timeMs === undefined) throw failure('INVALID_INPUT', `no event time: expected ${timeForm}, got ${shown(at)}`)
    // rows have times as texts of four-digit years; windows of any size around these are still Dates
    if (timeMs < firstMs || timeMs > lastMs) {
      throw failure('INVALID_INPUT', `no event time: ${shown(at)} is not in the years 0000 to 9999`)
    }
    if (typeof at === 'string') {
      text = at
      textMs = timeMs
    }
    return timeMs
  }
}

const firstMs = Date.parse('0000-01-01T00:00:00.000Z')
const lastMs = Date.parse('9999-12-31T23:59:59.999Z')

/** A value in a message, whatever it is. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (typeof value === 'object' && value !== null) return value instanceof Date ? 'a Date that is none' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
