// Rows under a key: what a program gives out, or goes on with.
import { subjectToken } from '../../contract/index.ts'
import type { Effect } from '../effects.ts'
import type { View } from '../view.ts'
import { End, type Line } from './line.ts'
import { Stream } from './stream.ts'

export interface KeyedRow<Row> {
  readonly key: string
  readonly row: Row
}

export class Rows<Row> {
  /** @internal */
  readonly line: Line<KeyedRow<Row>>
  /** @internal carries the row's type */
  declare readonly row: Row

  /** @internal */
  constructor(line: Line<KeyedRow<Row>>) {
    this.line = line
  }

  /**
   * The rows as values, to go on with; their key is the field `key`. A window's row has the time of its window's end.
   * @example hourly.stream('airport').filter((h) => h.mean > 60)
   */
  stream<Key extends string>(key: Key): Stream<Row & { [Name in Key]: string }, 'timed'> {
    return new Stream(
      this.line.step((_circuit, out, follow) =>
        follow((keyed, timeMs) => out({ [key]: keyed.key, ...keyed.row } as Row & { [Name in Key]: string }, timeMs)),
      ),
    )
  }

  /** Rows changed, under the same key. */
  map<Out extends object>(change: (row: Row, key: string) => Out): Rows<Out> {
    return new Rows(
      this.line.step<KeyedRow<Out>>((_circuit, out, follow) =>
        follow(({ key, row }, timeMs) => out({ key, row: change(row, key) }, timeMs)),
      ),
    )
  }

  /** Only rows for which `test` holds. */
  filter(test: (row: Row, key: string) => boolean): Rows<Row> {
    return new Rows(
      this.line.step<KeyedRow<Row>>((_circuit, out, follow) =>
        follow((keyed, timeMs) => {
          if (test(keyed.row, keyed.key)) out(keyed, timeMs)
        }),
      ),
    )
  }

  /** Ends a line in a view (each row there exactly once) or an effect (at least once). */
  to(target: View<never> | Effect<KeyedRow<Row>>): End {
    const line = this.line.follow()
    const { plan } = line
    const order = plan.nextOrder()
    if ('spec' in target) {
      const output = plan.views.push(target as View) - 1
      return new End((circuit) => {
        circuit.describe(order, `view ${target.name}`)
        line.connect(circuit, ({ key, row }) => {
          circuit.rows.push({ output, key: subjectToken(key, 'keyBy'), value: row as Record<string, unknown> })
        })
      })
    }
    const number = plan.effects.push(target as Effect<never>) - 1
    return new End((circuit) => {
      circuit.describe(order, `to(${target.name})`)
      line.connect(circuit, (keyed) => circuit.host.startEffect(number, keyed))
    })
  }
}
