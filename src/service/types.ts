// What a client of a contract offers; its types flow from the contract. Those of its handlers are in handlers.ts.
import type {
  ContractDefinition,
  EndpointDefinition,
  EventDefinition,
  InputOf,
  JobDefinition,
  OutputOf,
  StreamOf,
} from '../contract/internal.ts'
import type { CallOptions } from './call.ts'
import type { DeclaredError } from './errors.ts'
import type { EventClient } from './events.ts'
import type { GatheredReply, GatherOptions } from './gather.ts'
import type { JobClient } from './jobs.ts'

/** The errors an endpoint declares, as a union that `code` tells apart. */
export type DeclaredErrors<Endpoint extends EndpointDefinition> =
  Endpoint['errors'] extends Readonly<Record<string, unknown>>
    ? {
        [Code in keyof Endpoint['errors'] & string]: DeclaredError<Code, OutputOf<Endpoint['errors'][Code]>>
      }[keyof Endpoint['errors'] & string]
    : never

/** The outcome of `try`: declared errors as values, anything else is thrown. */
export type Outcome<Value, Error> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: Error }

export interface UnaryClient<Endpoint extends EndpointDefinition> {
  /**
   * Calls one instance.
   * @throws MyelinError NO_RESPONDERS, DEADLINE_EXCEEDED, CANCELLED, INVALID_INPUT, INVALID_REPLY, OVERLOADED,
   *   CIRCUIT_OPEN, PAYLOAD_TOO_LARGE, DISCONNECTED, INTERNAL, or a DeclaredError
   */
  (input: InputOf<Endpoint['in']>, options?: CallOptions): Promise<OutputOf<Endpoint['out']>>
  /** As the call, with the declared errors as typed values. */
  try(
    input: InputOf<Endpoint['in']>,
    options?: CallOptions,
  ): Promise<Outcome<OutputOf<Endpoint['out']>, DeclaredErrors<Endpoint>>>
  /** Asks every instance and gathers their answers. */
  gather(input: InputOf<Endpoint['in']>, options?: GatherOptions): Promise<GatheredReply<OutputOf<Endpoint['out']>>[]>
}

/** The items of a streamed reply; leaving the loop cancels the handler. */
export type StreamClient<Endpoint extends EndpointDefinition, Item> = (
  input: InputOf<Endpoint['in']>,
  options?: CallOptions,
) => AsyncIterableIterator<Item> & AsyncDisposable

export type EndpointClient<Endpoint extends EndpointDefinition> =
  Endpoint['out'] extends StreamOf<infer Item> ? StreamClient<Endpoint, OutputOf<Item>> : UnaryClient<Endpoint>

// A part that a contract leaves out has no names (NonNullable alone would give it every name there is).
type Part<Definition, Name extends string, Item> = Definition extends { readonly [K in Name]: infer Found }
  ? Found extends Readonly<Record<string, Item>>
    ? Found
    : Record<never, never>
  : Record<never, never>
type Endpoints<Definition extends ContractDefinition> = Part<Definition, 'endpoints', EndpointDefinition>
type Events<Definition extends ContractDefinition> = Part<Definition, 'events', EventDefinition>
type Jobs<Definition extends ContractDefinition> = Part<Definition, 'jobs', JobDefinition>

/** A typed client: a function per endpoint, `publish`/`subscribe` per event, `enqueue` per job. */
export type Client<Definition extends ContractDefinition> = {
  readonly [Name in keyof Endpoints<Definition>]: Endpoints<Definition>[Name] extends EndpointDefinition
    ? EndpointClient<Endpoints<Definition>[Name]>
    : never
} & {
  readonly [Name in keyof Events<Definition>]: Events<Definition>[Name] extends EventDefinition
    ? EventClient<Events<Definition>[Name]>
    : never
} & {
  readonly [Name in keyof Jobs<Definition>]: Jobs<Definition>[Name] extends JobDefinition
    ? JobClient<Jobs<Definition>[Name]>
    : never
}
