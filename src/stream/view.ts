// Views: what a processor writes. A stream of rows, the last row of a key and window being the one that counts.
import {
  type Bus,
  ensureStream,
  formerNameOf,
  nameKept,
  nameOf,
  ownedStream,
  type StreamSpec,
  streamInfo,
} from '../bus/internal.ts'
import { type Duration, durationMs, type OutputOf, type Schema, subjectToken } from '../contract/internal.ts'
import type { Copy } from './copies.ts'

/** A view's stream, or that of one of its partitions. */
export const viewStream = (name: string, partition?: number) =>
  partition === undefined ? nameOf('view', name) : nameOf('view part', name, partition)
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

/** A field of a row; any name where no schema says what a row has. */
type FieldOf<RowSchema extends Schema> =
  unknown extends OutputOf<RowSchema> ? string : keyof OutputOf<RowSchema> & string

/**
 * A view: stream `VIEW_<name>`, a row per message on `view.<name>.<key>`, JSON. `row` is the schema its rows must fit, as
 * checked by the compiler. At its limits a view refuses new rows (the processor waits) or, with `maxAge`, forgets old ones.
 * `replicas`: copies that a cluster keeps of it, 1 to 5; default: the connection's.
 */
export function view<const Key extends FieldOf<RowSchema>, RowSchema extends Schema = Schema>(
  name: string,
  options: { key: Key; row?: RowSchema; maxAge?: Duration; maxBytes?: number; replicas?: number },
): View<OutputOf<RowSchema>, Key> {
  subjectToken(name, 'view name')
  return {
    name,
    key: options.key,
    spec: {
      ...ownedStream('view', name),
      subjects: [viewSubject(name, '*')],
      description: `view ${name}, by ${options.key}`,
      ...(options.maxAge === undefined ? {} : { maxAgeMs: durationMs(options.maxAge, `view ${name}: maxAge`) }),
      ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
      ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
    },
  }
}

/** For those who read a view: makes it when it is missing, and leaves it as its processor made it when it is not. */
export async function ensureView(bus: Bus, view: View): Promise<void> {
  if (!(await streamInfo(bus, view.spec.name))) await ensureStream(bus, view.spec)
}

/** The same view under another name. */
export function renamed(view: View, name: string): View {
  return {
    ...view,
    name,
    spec: {
      ...view.spec,
      ...ownedStream('view', name),
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
    await ensureStream(bus, view.spec)
    return [{ stream: view.spec.name, subject: (key) => viewSubject(view.name, key) }]
  }
  const { replicas } = view.spec
  const parts: ViewPart[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const own = ownedStream('view part', view.name, partition)
    const subject = (key: string) => `viewpart.${view.name}.${partition}.${key}`
    const former = formerNameOf('view part', view.name, partition)
    const stream = await nameKept(bus, own.name, former, [subject('*')])
    parts.push({ stream, subject })
    await ensureStream(bus, {
      ...own,
      name: stream,
      subjects: [subject('*')],
      description: `partition ${partition} of view ${view.name}`,
      maxAgeMs: partAgeMs,
      ...(replicas === undefined ? {} : { replicas }),
    })
  }
  const sources = parts.map(({ stream, subject }) => ({
    stream,
    transforms: [{ from: subject('*'), to: viewSubject(view.name, '{{wildcard(1)}}') }],
  }))
  // nobody but the server writes into it
  await ensureStream(bus, { ...view.spec, subjects: [], sources })
  return parts
}

/** What the server copies into a view that several partitions write. */
export function copiesOf(bus: Bus, view: View, parts: readonly ViewPart[]): readonly Copy[] {
  if (parts.length === 1) return []
  return parts.map(({ stream, subject }) => ({
    stream: view.spec.name,
    origin: stream,
    subject: subject('*'),
    // a key is of one partition
    copied: (own) => viewSubject(view.name, own.slice(subject('').length)),
    keepsLast: false,
    ensure: () => ensureParts(bus, view, parts.length),
  }))
}
