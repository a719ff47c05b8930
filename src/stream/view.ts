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

/** The same view under another name. */
export function renamed(view: View, name: string): View {
  return {
    ...view,
    name,
    spec: {
      ...view.spec,
      name: viewStream(name),
      subjects: [viewSubject(name, '*')],
      description: `view ${name}, by ${view.key}`,
    },
  }
}

/** Where one partition writes. */
export interface ViewPart {
  readonly stream: string
  readonly subject: (key: string) => string
}

// rows of a partition stay in its own stream so long, copied into the view at once: a day without a server between them
const partAgeMs = 86_400_000

/**
 * Makes sure of a view that several partitions write: each has a stream of its own, which has one writer and can tell
 * for certain what it holds; the server copies them into the view.
 */
export async function ensureParts(bus: Bus, view: View, partitions: number): Promise<readonly ViewPart[]> {
  if (partitions === 1) {
    await ensureView(bus, view)
    return [{ stream: view.spec.name, subject: (key) => viewSubject(view.name, key) }]
  }
  const parts = Array.from({ length: partitions }, (_, partition) => ({
    stream: `${view.spec.name}_${partition}`,
    subject: (key: string) => `viewpart.${view.name}.${partition}.${key}`,
  }))
  for (const [partition, { stream, subject }] of parts.entries()) {
    await ensureStream(bus, {
      name: stream,
      subjects: [subject('*')],
      description: `partition ${partition} of view ${view.name}`,
      maxAgeMs: partAgeMs,
    })
  }
  const sources = parts.map(({ stream, subject }) => ({
    stream,
    transforms: [{ from: subject('*'), to: viewSubject(view.name, '{{wildcard(1)}}') }],
  }))
  await ensureStream(bus, { ...view.spec, sources })
  return parts
}
