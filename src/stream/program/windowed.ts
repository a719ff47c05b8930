// Windows of values, to be aggregated.
import { failure } from '../../bus/internal.ts'
import type { Aggregated, AnyAggregate } from '../aggregates/index.ts'
import { Aggregation, type Emission, type WindowShape, windowOperator } from '../windows/index.ts'
import type { KeyOf, Node, Sink } from './node.ts'
import { type KeyedRow, Rows } from './rows.ts'

/** @internal How a window was described. */
export interface WindowedPlan<T> {
  readonly order: number
  readonly shape: WindowShape
  readonly latenessMs: number
  readonly emission: Emission
  /** The row's field for the window's start; absent: the row does not have it. */
  readonly as: string | undefined
  /** Where events go that are too late, and what connects them on. */
  readonly sideOutput?: Node<T>
  readonly sink?: Sink
}

/** Names that aggregates cannot have: the row says something else under them. */
type Apart<Head> = string extends keyof Head ? unknown : { readonly [Name in keyof Head]?: never }

export class WindowedStream<T, Head extends object> {
  readonly #node: Node<T>
  readonly #keyOf: KeyOf<T>
  readonly #plan: WindowedPlan<T>

  /** @internal */
  constructor(node: Node<T>, keyOf: KeyOf<T>, plan: WindowedPlan<T>) {
    this.#node = node
    this.#keyOf = keyOf
    this.#plan = plan
  }

  /** One row per key and window: the window's start (ISO 8601) and each aggregate under its name. */
  aggregate<Aggregates extends Record<string, AnyAggregate<T>> & Apart<Head>>(
    aggregates: Aggregates,
  ): Rows<Head & Aggregated<Aggregates>> {
    type Row = Head & Aggregated<Aggregates>
    const { order, shape, latenessMs, emission, as, sideOutput, sink } = this.#plan
    const names = Object.keys(aggregates)
    const list = Object.values(aggregates) as AnyAggregate<T>[]
    const head = as === undefined ? [] : [as, ...(emission === 'close' ? [] : ['final'])]
    const taken = names.find((name) => head.includes(name))
    if (taken !== undefined) {
      throw failure(
        'INVALID_OPTION',
        taken === as
          ? `aggregate "${taken}": the row has the window's start under that name; give the aggregate another, or the start with window's \`as\``
          : `aggregate "${taken}": the row says under that name whether it is final; give the aggregate another`,
      )
    }
    if (shape.kind === 'session') {
      const stubborn = names.find((name) => aggregates[name]!.merge === undefined)
      if (stubborn !== undefined) {
        throw failure(
          'INVALID_OPTION',
          `aggregate "${stubborn}" cannot be merged, as sessions need it; give it merge()`,
        )
      }
    }
    const keyOf = this.#keyOf
    const emitted =
      emission === 'close' ? '' : `, ${typeof emission === 'object' ? `early ${emission.earlyMs}` : emission}`
    return new Rows(
      this.#node.step<KeyedRow<Row>>((dataflow, out, follow) => {
        dataflow.describe(
          order,
          `${shape.description} lateness ${latenessMs}${emitted} as ${as}: ${shapeOf(aggregates)}`,
        )
        if (sideOutput) sink?.connect(dataflow)
        const lateOut = sideOutput && dataflow.inputs(sideOutput)
        const aggregation = new Aggregation<T>(list)
        const windows = windowOperator<T>(dataflow, shape, {
          order,
          latenessMs,
          aggregation,
          emission,
          emit(key, startMs, endMs, states, final) {
            // a row that cannot be made takes no other with it: windows close together
            try {
              const row: Record<string, unknown> = as === undefined ? {} : { [as]: isoText(startMs) }
              const results = aggregation.results(states)
              for (let i = 0; i < names.length; i++) row[names[i]!] = results[i]
              if (emission !== 'close' && as !== undefined) row.final = final
              // a row belongs to the last moment of its window
              out({ key, row: row as Row }, shape.kind === 'aligned' ? endMs - 1 : endMs)
            } catch (error) {
              dataflow.host.reject(error)
            }
          },
          late:
            lateOut &&
            ((value, timeMs) => {
              for (const push of lateOut) push(value, timeMs)
            }),
        })
        dataflow.add(order, windows, this.#node.behindMs)
        follow((value, timeMs) => windows.push(String(keyOf(value)), value, timeMs))
      }),
      [...head, ...names],
    )
  }
}

/** What is aggregated, for the program's shape. */
const shapeOf = (aggregates: Record<string, { readonly kind?: string }>): string =>
  Object.entries(aggregates)
    .map(([name, { kind = 'own' }]) => (name === kind ? name : `${name} = ${kind}`))
    .join(', ')

/** `2001-01-01T05:00:00Z`; milliseconds only where there are some. */
function isoText(timeMs: number): string {
  return new Date(timeMs).toISOString().replace('.000Z', 'Z')
}
