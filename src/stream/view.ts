// Views: what a processor writes. A stream of rows, the last row of a key and window being the one that counts.
import { type Bus, ensureStream, type StreamSpec } from '../bus/index.ts'
import { type Duration, durationMs, type OutputOf, type Schema } from '../contract/index.ts'

export const viewStream = (name: string) => `VIEW_${name}`
export const viewSubject = (name: string, key: string) => `view.${name}.${key}`

/** What a processor writes. */
export interface View<Row = unknown, Key extends string = string> {
  readonly name: string
  /** The row's field that holds the key. */
  readonly key: Key
  readonly spec: StreamSpec
  /** @internal carries the row's type */
  readonly row?: Row
}

/**
 * A view: stream `VIEW_<name>`, a row per message on `view.<name>.<key>`, JSON. `row` is the schema its rows must fit, as
 * checked by the compiler. At its limits a view refuses new rows (the processor waits) or, with `maxAge`, forgets old ones.
 */
export function view<const Key extends string, RowSchema extends Schema = Schema>(
  name: string,
  options: { key: Key; row?: RowSchema; maxAge?: Duration; maxBytes?: number },
): View<OutputOf<RowSchema>, Key> {
  return {
    name,
    key: options.key,
    spec: {
      name: viewStream(name),
      subjects: [viewSubject(name, '*')],
      description: `view ${name}, by ${options.key}`,
      ...(options.maxAge === undefined ? {} : { maxAgeMs: durationMs(options.maxAge, `view ${name}: maxAge`) }),
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
    },
  }
}

export const ensureView = (bus: Bus, view: View): Promise<void> => ensureStream(bus, view.spec)
