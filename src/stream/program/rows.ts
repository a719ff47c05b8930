// Rows under a key: what a program gives out, or goes on with.
import { failure } from '../../bus/internal.ts'
import { subjectToken } from '../../contract/internal.ts'
import type { Effect } from '../effects.ts'
import type { View } from '../view.ts'
import { type Node, Sink } from './node.ts'
import { Stream } from './stream.ts'

export interface KeyedRow<Row> {
  readonly key: string
  readonly row: Row
}

/** A row with its key. @throws MyelinError INVALID_INPUT when it says another one of its own */
export function withKey(field: string, key: string, row: object): Record<string, unknown> {
  const own = (row as Record<string, unknown>)[field]
  if (own !== undefined && own !== key && (typeof own !== 'number' || String(own) !== key)) {
    throw failure(
      'INVALID_INPUT',
      `the row of "${key}" has a field "${field}" of its own that says something else, and "${field}" is what its key is called; give one of them another name`,
    )
  }
  return { [field]: key, ...row }
}

export class Rows<Row> {
  /** @internal */
  readonly node: Node<KeyedRow<Row>>
  /** @internal carries the row's type */
  declare readonly row: Row

  /** Names of its fields, as far as they are known. */
  readonly #fields: readonly string[]

  /** @internal */
  constructor(node: Node<KeyedRow<Row>>, fields: readonly string[] = []) {
    this.node = node
    this.#fields = fields
  }

  /**
   * The rows as values, to go on with; their key is the field `key`. A window's row has the time of its window's end.
   * @example hourly.stream('airport').filter((h) => h.mean > 60)
   */
  stream<Key extends string>(key: Key): Stream<Row & { [Name in Key]: string }, 'timed'> {
    this.#refuseField(key, 'the values')
    return new Stream(
      this.node.step((_dataflow, out, follow) =>
        follow((keyed, timeMs) =>
          out(withKey(key, keyed.key, keyed.row as object) as Row & { [Name in Key]: string }, timeMs),
        ),
      ),
    )
  }

  /** Rows changed, under the same key. */
  map<Out extends object>(change: (row: Row, key: string) => Out): Rows<Out> {
    return new Rows(
      this.node.step<KeyedRow<Out>>((_dataflow, out, follow) =>
        follow(({ key, row }, timeMs) => out({ key, row: change(row, key) }, timeMs)),
      ),
    )
  }

  /** Only rows for which `test` holds. */
  filter(test: (row: Row, key: string) => boolean): Rows<Row> {
    return new Rows(
      this.node.step<KeyedRow<Row>>((_dataflow, out, follow) =>
        follow((keyed, timeMs) => {
          if (test(keyed.row, keyed.key)) out(keyed, timeMs)
        }),
      ),
      this.#fields,
    )
  }

  /** Ends a branch of the program in a view (each row there exactly once) or an effect (at least once). */
  to(target: View<never> | Effect<KeyedRow<Row>>): Sink {
    const node = this.node.follow()
    const { plan } = node
    const order = plan.nextOrder()
    if ('spec' in target) {
      this.#refuseField(target.key, `view '${target.name}'`)
      const output = plan.views.push(target as View) - 1
      return new Sink((dataflow) => {
        dataflow.describe(order, `view ${target.name}`)
        node.connect(dataflow, ({ key, row }) => {
          dataflow.rows.push({
            output,
            key: subjectToken(key, 'keyBy'),
            value: row as Record<string, unknown>,
            byTime: dataflow.advancing,
          })
        })
      })
    }
    const number = plan.effects.push(target as Effect<never>) - 1
    return new Sink((dataflow) => {
      dataflow.describe(order, `to(${target.name})`)
      node.connect(dataflow, (keyed) => dataflow.host.startEffect(number, keyed))
    })
  }

  /** @throws MyelinError INVALID_OPTION */
  #refuseField(key: string, where: string): void {
    if (!this.#fields.includes(key)) return
    throw failure(
      'INVALID_OPTION',
      `${where}: "${key}" is what the key is called, and a field of the row has the same name; give one of them another`,
    )
  }
}
