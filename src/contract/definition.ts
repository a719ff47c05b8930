// What a contract is made of: endpoints (request/reply), events (publish/subscribe) and jobs (queueing), as data.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Duration } from './durations.ts'

/** Any schema of a Standard Schema library (zod, valibot, arktype…). */
export type Schema<In = unknown, Out = unknown> = StandardSchemaV1<In, Out>
/** What is put in and travels on the wire. */
export type InputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : never
/** What the receiver gets after its schema parsed it. */
export type OutputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : never

/** Marks an endpoint's reply as many items, sent as they are made. */
export interface StreamOf<S extends Schema = Schema> {
  readonly stream: S
}

/**
 * A streamed reply: the handler is an async generator, the caller a `for await`.
 * @example search: { in: Query, out: stream(Airport) }
 */
export function stream<S extends Schema>(item: S): StreamOf<S> {
  return { stream: item }
}

/** Limits that protect caller and service, per endpoint; all optional. */
export interface Resilience {
  /** Attempts after the first, for idempotent endpoints only. Default 2. */
  readonly retries?: number
  /** Calls at once by one client; more fail with OVERLOADED. */
  readonly bulkhead?: number
  /** Opens after this many failures in a row, for `forMs`. */
  readonly breaker?: { readonly failures: number; readonly forMs: number }
  /** Sends a second request when no reply came for this long; the first answer wins. Idempotent endpoints only. */
  readonly hedgeAfterMs?: number
}

/** Request/reply. */
export interface EndpointDefinition {
  readonly description?: string
  readonly in: Schema
  readonly out: Schema | StreamOf
  /** Errors the handler may answer with `fail`, each with the schema of its data. */
  readonly errors?: Readonly<Record<string, Schema>>
  /** Calling twice does what calling once does; only then is a call ever retried or hedged. */
  readonly idempotent?: boolean
  /** How long a call may take when the caller names no other deadline. Default 5 s. */
  readonly timeoutMs?: number
  /** Payloads over the server's limit travel through the object store. */
  readonly claimCheck?: boolean
  /** Handlers running at once in one instance; more are answered with OVERLOADED. Default 1,024. */
  readonly maxInFlight?: number
  readonly resilience?: Resilience
}

/** Durable events are kept in a stream; others reach who listens now. */
export interface Durable {
  readonly maxAge?: Duration
  readonly maxBytes?: number
  readonly maxMessages?: number
  readonly storage?: 'file' | 'memory'
  readonly replicas?: number
  /** How long the server remembers event ids. Default 2 minutes. */
  readonly dedupWindow?: Duration
  /** At a limit: refuse (`new`: the publisher waits) or drop the oldest (`old`, the default when maxAge is all there is). */
  readonly discard?: 'new' | 'old'
}

/** Publish/subscribe. */
export interface EventDefinition {
  readonly description?: string
  readonly payload: Schema
  /** The payload's field that becomes the last token of the subject, so that subscribers can pick. */
  readonly key?: string
  readonly durable?: true | Durable
}

/** Queueing: each job is done by one worker. */
export interface JobDefinition {
  readonly description?: string
  readonly payload: Schema
  /** Tries before the job goes to the dead letters. Default 5. */
  readonly attempts?: number
  readonly backoff?: { readonly from: Duration; readonly to: Duration }
  /** Jobs at once in one instance. Default 16. */
  readonly concurrency?: number
  /** A worker that falls silent for this long loses the job to another. Extended by itself while the handler runs. Default 30 s. */
  readonly lease?: Duration
  /** How long one try may take. Default: no end. */
  readonly timeout?: Duration
  readonly maxAge?: Duration
  readonly maxBytes?: number
  /** Payload field that makes a job unique while it waits or runs. */
  readonly unique?: string
}

/** What a service offers: its endpoints, events and jobs, each with schemas; see {@link contract}. */
export interface ContractDefinition {
  readonly version: string
  readonly description?: string
  readonly endpoints?: Readonly<Record<string, EndpointDefinition>>
  readonly events?: Readonly<Record<string, EventDefinition>>
  readonly jobs?: Readonly<Record<string, JobDefinition>>
}

/** A checked contract. Types of client and server are inferred from `Definition`. */
export interface Contract<Definition extends ContractDefinition = ContractDefinition> {
  readonly name: string
  readonly definition: Definition
}
