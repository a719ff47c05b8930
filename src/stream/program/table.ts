// Tables: what is known of each key at present. They change as their own stream or bucket does.
import type { Push } from '../dataflow.ts'
import { LookupBuffer } from '../joins/lookup-buffer.ts'
import { TableState } from '../joins/table-state.ts'
import { behindOf, Node } from './node.ts'
import { type KeyedRow, Rows } from './rows.ts'
import { Stream } from './stream.ts'

/** A key has a new value, or none any more. */
export interface Change<T> {
  readonly key: string
  readonly value: T | undefined
  readonly timeMs: number
}

interface Built<T> {
  readonly state: TableState
  readonly changed: Push<Change<T>>[]
}

export class Table<T> {
  readonly #source: Node<Change<T>>
  readonly #order: number
  readonly #historyMs: number

  private constructor(source: Node<Change<T>>, order: number, historyMs: number) {
    this.#source = source.follow()
    this.#order = order
    this.#historyMs = historyMs
  }

  /** @internal Made by `table()` of a keyed stream, or given for a table's source. */
  static of<In, T>(node: Node<In>, read: (value: In, timeMs: number) => Change<T>, historyMs: number): Table<T> {
    const changes = node.step<Change<T>>((_dataflow, out, follow) =>
      follow((value, timeMs) => out(read(value, timeMs), timeMs)),
    )
    return new Table(changes, node.plan.nextOrder(), historyMs)
  }

  /** One per dataflow, whoever asks first. */
  #in(dataflow: Parameters<Node<T>['connect']>[0]): Built<T> {
    return dataflow.shared(this, () => {
      const { behindMs } = this.#source
      const timed = behindMs !== undefined
      const state = new TableState(dataflow, { order: this.#order, historyMs: this.#historyMs, timed })
      const changed: Push<Change<T>>[] = []
      dataflow.describe(this.#order, `table(history ${this.#historyMs})`)
      dataflow.add(this.#order, state, behindMs)
      this.#source.connect(dataflow, (change, timeMs) => {
        state.put(change.key, change.value, change.timeMs)
        for (const push of changed) push(change, timeMs)
      })
      return { state, changed }
    })
  }

  /** @internal see `lookup` of a keyed stream */
  lookup<Left, Out>(
    left: Node<Left>,
    keyOf: (value: Left) => string | number,
    combine: (value: Left, found: T | undefined) => Out,
    options: { readonly inner: boolean; readonly graceMs?: number },
  ): Stream<Out, 'timed' | 'untimed'> {
    const { plan } = left
    const order = plan.nextOrder()
    const { graceMs, inner } = options
    const sources = new Set([...left.sources, ...this.#source.sources])
    left.follow()
    const behindMs = left.behindMs === undefined ? graceMs : left.behindMs + (graceMs ?? 0)
    return new Stream(
      new Node<Out>(plan, sources, behindMs, (dataflow, out) => {
        dataflow.describe(
          order,
          `lookup(${inner ? 'inner' : 'left'}${graceMs === undefined ? '' : `, grace ${graceMs}`})`,
        )
        const { state } = this.#in(dataflow)
        state.keep(behindMs ?? 0)
        const find = (value: Left, timeMs: number) => {
          const found = state.at(String(keyOf(value)), timeMs) as T | undefined
          if (found !== undefined || !inner) out(combine(value, found), timeMs)
        }
        if (graceMs === undefined) {
          left.connect(dataflow, find)
          return
        }
        const buffer = new LookupBuffer(dataflow, {
          order,
          graceMs,
          next: (value, timeMs) => {
            try {
              find(value as Left, timeMs)
            } catch (error) {
              dataflow.host.reject(error)
            }
          },
        })
        dataflow.add(order, buffer, left.behindMs)
        left.connect(dataflow, (value, timeMs) => buffer.push(value, timeMs))
      }),
    )
  }

  /**
   * Two tables as one: a row whenever either changes and both have the key, with the latest of both.
   * @example orders.join(customers, (order, customer) => ({ ...order, name: customer.name }))
   */
  join<Other, Out extends object>(
    other: Table<Other>,
    combine: (mine: T, theirs: Other, key: string) => Out,
  ): Rows<Out> {
    const plan = this.#source.plan
    const order = plan.nextOrder()
    const sources = new Set([...this.#source.sources, ...other.#source.sources])
    return new Rows(
      new Node<KeyedRow<Out>>(plan, sources, behindOf(this.#source, other.#source), (dataflow, out) => {
        dataflow.describe(order, 'join(tables)')
        const [mine, theirs] = [this.#in(dataflow), other.#in(dataflow)]
        const emit: Push<Change<unknown>> = ({ key }, timeMs) => {
          const [left, right] = [mine.state.latest(key) as T | undefined, theirs.state.latest(key) as Other | undefined]
          if (left !== undefined && right !== undefined) out({ key, row: combine(left, right, key) }, timeMs)
        }
        mine.changed.push(emit)
        if (theirs !== (mine as unknown)) theirs.changed.push(emit)
      }),
    )
  }

  /** Every change as a row. */
  rows<Row extends object>(of: (value: T, key: string) => Row): Rows<Row> {
    const plan = this.#source.plan
    return new Rows(
      new Node<KeyedRow<Row>>(plan, this.#source.sources, this.#source.behindMs, (dataflow, out) => {
        this.#in(dataflow).changed.push(({ key, value }, timeMs) => {
          if (value !== undefined) out({ key, row: of(value, key) }, timeMs)
        })
      }),
    )
  }
}
