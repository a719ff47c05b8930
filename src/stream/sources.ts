// What a processor can read: durable events, views, any stream of JSON, key-value buckets.
import { z } from 'zod'
import { type Bus, bucketStream, failure, type HeaderReader, readPayload } from '../bus/internal.ts'
import {
  type Contract,
  type ContractDefinition,
  type Durable,
  eventStream,
  eventSubjects,
  type OutputOf,
  parse,
  type Schema,
} from '../contract/internal.ts'
import { ensureContractStreams } from '../service/index.ts'
import type { Enrichment } from './enrichment.ts'
import { maxDepth, tooDeep } from './json.ts'
import type { Change } from './program/index.ts'
import { ensureView, type View, viewSubject } from './view.ts'

/** A message of an input. */
export interface Incoming {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers: HeaderReader
  readonly timestampMs: number
}

/** What a processor reads. */
export interface Source<T> {
  /** `events` go in as a stream, a `table` as what is known of each key. */
  readonly kind: 'events' | 'table'
  readonly stream: string
  /** Which of the stream's messages; a wildcard, if any, is the last token. */
  readonly subject: string
  /** A table that every partition has as a whole. */
  readonly everywhere?: boolean
  /** Makes sure that the stream exists. */
  ensure(bus: Bus): Promise<void>
  /**
   * `keyOf` gives what a subject says after the source's fixed part.
   * @throws MyelinError INVALID_INPUT, MALFORMED_PAYLOAD: the message cannot be used
   */
  decode(message: Incoming, keyOf: (subject: string) => string): unknown
  /** @internal What is asked for each value before the program sees it. */
  readonly enrichment?: Enrichment
  /** @internal carries the payload's type */
  readonly payload?: T
}

/** A source of what is known of each key. */
export interface TableSource<T> extends Source<Change<T>> {
  readonly kind: 'table'
}

type Events<Definition extends ContractDefinition> = NonNullable<Definition['events']>
type PayloadOf<Item> = Item extends { payload: infer S } ? S : never

/** The names of events that are kept in a stream: only these can be read again. Of a contract without types, all. */
type DurableName<Definition extends ContractDefinition> = string extends keyof Events<Definition>
  ? string
  : {
      [Name in keyof Events<Definition> & string]: Events<Definition>[Name] extends { readonly durable: true | Durable }
        ? Name
        : never
    }[keyof Events<Definition> & string]

/** A durable event of a contract as a processor's input. @throws MyelinError INVALID_OPTION when it is not durable */
export function event<Definition extends ContractDefinition, Name extends DurableName<Definition>>(
  contract: Contract<Definition>,
  name: Name,
): Source<OutputOf<PayloadOf<Events<Definition>[Name]>>> {
  const definition = contract.definition.events?.[name]
  if (!definition?.durable) {
    throw failure(
      'INVALID_OPTION',
      `event ${contract.name}.${name}: a processor reads durable events only; declare it durable`,
    )
  }
  return {
    kind: 'events',
    stream: eventStream(contract.name, name),
    subject: eventSubjects(contract.name, name, definition.key !== undefined),
    ensure: (bus) => ensureContractStreams(bus, contract),
    decode: decoder(definition.payload),
  }
}

/** Rows of a view, as its processor writes them: one processor after another. */
export function rowsOf<Row, Key extends string>(view: View<Row, Key>): Source<Row> {
  return {
    kind: 'events',
    stream: view.spec.name,
    subject: viewSubject(view.name, '*'),
    ensure: (bus) => ensureView(bus, view),
    decode: decoder(undefined),
  }
}

/**
 * Any stream that holds JSON. It must exist.
 * @example messages('ORDERS', { subject: 'orders.*', schema: Order })
 */
export function messages<S extends Schema = Schema<unknown>>(
  stream: string,
  options: { readonly subject: string; readonly schema?: S },
): Source<OutputOf<S>> {
  return {
    kind: 'events',
    stream,
    subject: options.subject,
    ensure: async () => undefined,
    decode: decoder(options.schema),
  }
}

/**
 * A key-value bucket as a table: what it holds of each key, and every change. It must exist.
 * `everywhere`: a processor of several partitions gives each of them the whole bucket, to look up by any key; without it
 * each has the keys of its own partition.
 * @example table('AIRPORTS', { schema: Airport, everywhere: true })
 */
export function table<S extends Schema = Schema<unknown>>(
  bucket: string,
  options: { readonly schema?: S; readonly everywhere?: boolean } = {},
): TableSource<OutputOf<S>> {
  const decode = decoder(options.schema)
  return {
    kind: 'table',
    stream: bucketStream(bucket),
    subject: `$KV.${bucket}.>`,
    everywhere: options.everywhere ?? false,
    ensure: async () => undefined,
    decode: (message, keyOf) => {
      // DEL or PURGE by somebody; or the server's own marker that a value was removed by its limits (MaxAge, Purge, Remove)
      const removed =
        message.headers.get('KV-Operation') !== undefined || message.headers.get('Nats-Marker-Reason') !== undefined
      const change = { key: keyOf(message.subject), timeMs: message.timestampMs }
      return { ...change, value: removed ? undefined : decode(message) }
    },
  }
}

const anything = z.unknown()

function decoder(schema: Schema = anything): (message: Incoming) => unknown {
  return ({ data, headers }) => {
    if (tooDeep(data)) throw failure('INVALID_INPUT', `payload: nested more than ${maxDepth} deep`)
    const value = parse(schema, readPayload(headers, data), 'INVALID_INPUT', 'payload')
    if (value instanceof Promise) throw failure('INVALID_CONTRACT', 'a processor needs a synchronous schema')
    return value
  }
}
