// Values that belong together by a key: windows, joins, tables and running aggregates.
import { type Duration, durationMs } from '../../contract/internal.ts'
import type { Aggregated, AnyAggregate } from '../aggregates/index.ts'
import { IntervalJoin, type JoinKind } from '../joins/interval.ts'
import { counted, type Emission, type WindowShape } from '../windows/index.ts'
import { behindOf, type KeyOf, Node, type Sink } from './node.ts'
import { type KeyedRow, Rows } from './rows.ts'
import { Stream, type Timing } from './stream.ts'
import { Table } from './table.ts'
import { WindowedStream } from './windowed.ts'

export interface WindowOptions<T, As extends string> {
  /** How long after its end a window still takes late events; each of them sends its row out again. Default 0. */
  readonly lateness?: Duration
  /** What the row calls the window's start. Default `start`. */
  readonly as?: As
  /**
   * When rows go out: when the window is `closed` (the default), at every `update`, or `early`, so often in event time.
   * Rows of the last two say whether they are `final`.
   */
  readonly emit?: 'closed' | 'update' | { readonly early: Duration }
  /** What happens with events that are too late even for `lateness`; without it they are only counted. */
  readonly late?: (late: Stream<T, 'timed'>) => Sink
}

export interface JoinOptions<Kind extends JoinKind> {
  /** How far apart in time the two may be; or so much earlier and later may the right one be. */
  readonly within: Duration | { readonly before: Duration; readonly after: Duration }
  /** `left` also emits left values that found no right one, `outer` those of both sides; when that is certain. Default `inner`. */
  readonly kind?: Kind
}

type LeftOf<T, Kind extends JoinKind> = Kind extends 'outer' ? T | undefined : T
type RightOf<T, Kind extends JoinKind> = Kind extends 'inner' ? T : T | undefined

export interface LookupOptions<Kind extends 'inner' | 'left'> {
  /** `inner` leaves out values whose key the table does not have. Default `left`. */
  readonly kind?: Kind
  /** Wait until the watermark is so far past a value: what the table learns until then counts. Default: not at all. */
  readonly grace?: Duration
}

/** Values that have a key. */
export class KeyedStream<T, Time extends Timing = 'untimed'> {
  /** @internal */
  readonly node: Node<T>
  /** @internal */
  readonly keyOf: KeyOf<T>
  /** @internal carries whether there is an event time */
  declare readonly timing: Time

  /** @internal */
  constructor(node: Node<T>, keyOf: KeyOf<T>) {
    this.node = node
    this.keyOf = keyOf
  }

  /** Cuts each key's values into windows. Needs an event time: call `time` before `keyBy`. */
  window<As extends string = 'start'>(
    this: KeyedStream<T, 'timed'>,
    shape: WindowShape,
    options: WindowOptions<T, As> & { readonly emit: 'update' | { readonly early: Duration } },
  ): WindowedStream<T, { [Name in As]: string } & { final: boolean }>
  window<As extends string = 'start'>(
    this: KeyedStream<T, 'timed'>,
    shape: WindowShape,
    options?: WindowOptions<T, As>,
  ): WindowedStream<T, { [Name in As]: string }>
  // biome-ignore lint/suspicious/noExplicitAny: the overloads say what its rows begin with
  window(shape: WindowShape, options: WindowOptions<T, string> = {}): WindowedStream<T, any> {
    const order = this.node.plan.nextOrder()
    const sideOutput = options.late ? this.node.sideOutput() : undefined
    const sink = sideOutput && options.late!(new Stream(sideOutput))
    return new WindowedStream(this.node, this.keyOf, {
      order,
      shape,
      latenessMs: durationMs(options.lateness ?? 0, 'window: lateness'),
      emission: emissionOf(options.emit ?? 'closed'),
      as: options.as ?? 'start',
      ...(sideOutput && sink ? { sideOutput, sink } : {}),
    })
  }

  /** One row per key that grows with every value: emitted at each, whenever it happened. */
  aggregate<Aggregates extends Record<string, AnyAggregate<T>>>(aggregates: Aggregates): Rows<Aggregated<Aggregates>> {
    return new WindowedStream<T, object>(this.node, this.keyOf, {
      order: this.node.plan.nextOrder(),
      shape: { ...counted(1), events: Number.MAX_SAFE_INTEGER, description: 'all' },
      latenessMs: 0,
      emission: 'update',
      as: undefined,
    }).aggregate(aggregates) as unknown as Rows<Aggregated<Aggregates>>
  }

  /** Each value as a row of its key. */
  rows<Row extends object>(of: (value: T) => Row): Rows<Row> {
    const { keyOf } = this
    return new Rows(
      this.node.step<KeyedRow<Row>>((_dataflow, out, follow) =>
        follow((value, timeMs) => out({ key: String(keyOf(value)), row: of(value) }, timeMs)),
      ),
    )
  }

  /** The latest value of each key; with `history` also the one that was valid at an earlier time. */
  table(options: { readonly history?: Duration } = {}): Table<T> {
    const { keyOf } = this
    return Table.of(
      this.node,
      (value, timeMs) => ({ key: String(keyOf(value)), value, timeMs }),
      durationMs(options.history ?? 0, 'table: history'),
    )
  }

  /**
   * Joins values of two streams that have the same key and are near each other in time; all pairs of them. Each side is
   * kept as long as a partner may come. The result's time is the later one of the two.
   * @example orders.keyBy((o) => o.id).join(payments.keyBy((p) => p.order), { within: '1h', kind: 'left' }, (o, p) => ({ ...o, paid: p !== undefined }))
   */
  join<Right, Out, const Kind extends JoinKind = 'inner'>(
    this: KeyedStream<T, 'timed'>,
    right: KeyedStream<Right, 'timed'>,
    options: JoinOptions<Kind>,
    combine: (left: LeftOf<T, Kind>, right: RightOf<Right, Kind>, key: string) => Out,
  ): Stream<Out, 'timed'> {
    const { within } = options
    const beforeMs = durationMs(typeof within === 'object' ? within.before : within, 'join: within')
    const afterMs = durationMs(typeof within === 'object' ? within.after : within, 'join: within')
    const kind = options.kind ?? 'inner'
    const { keyOf } = this
    const [mine, others] = [this.node.follow(), right.node.follow()]
    const order = mine.plan.nextOrder()
    const sources = new Set([...mine.sources, ...others.sources])
    const behindMs = behindOf(mine, others) ?? 0
    // those that found none are emitted when no partner can come any more, which is later than their time
    const waitsMs = kind === 'inner' ? 0 : kind === 'left' ? afterMs : Math.max(beforeMs, afterMs)
    return new Stream(
      new Node<Out>(mine.plan, sources, behindMs + waitsMs, (dataflow, out) => {
        dataflow.describe(order, `join(${kind}, -${beforeMs} +${afterMs})`)
        const emit = (key: string, left: unknown, other: unknown, timeMs: number) => {
          try {
            out(combine(left as LeftOf<T, Kind>, other as RightOf<Right, Kind>, key), timeMs)
          } catch (error) {
            dataflow.host.reject(error)
          }
        }
        const join = new IntervalJoin(dataflow, { order, beforeMs, afterMs, kind, emit })
        dataflow.add(order, join, behindMs)
        mine.connect(dataflow, (value, timeMs) => join.push(0, String(keyOf(value)), value, timeMs))
        others.connect(dataflow, (value, timeMs) => join.push(1, String(right.keyOf(value)), value, timeMs))
      }),
    )
  }

  /** Each value with what a table says of its key: at the value's own time if the table keeps a history, else now. */
  lookup<Right, Out, const Kind extends 'inner' | 'left' = 'left'>(
    table: Table<Right>,
    combine: (value: T, found: Kind extends 'inner' ? Right : Right | undefined) => Out,
    options: LookupOptions<Kind> = {},
  ): Stream<Out, Time> {
    return table.lookup(this.node, this.keyOf, combine as (value: T, found: Right | undefined) => Out, {
      inner: options.kind === 'inner',
      ...(options.grace === undefined ? {} : { graceMs: durationMs(options.grace, 'lookup: grace') }),
    }) as Stream<Out, Time>
  }
}

function emissionOf(emit: 'closed' | 'update' | { readonly early: Duration }): Emission {
  if (typeof emit === 'object') return { earlyMs: Math.max(1, durationMs(emit.early, 'window: early')) }
  return emit === 'closed' ? 'close' : 'update'
}
