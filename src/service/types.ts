// The types that flow from a contract: what its client offers and what its handlers must be.
import type {
  ContractDefinition,
  EndpointDefinition,
  EventDefinition,
  InputOf,
  JobDefinition,
  OutputOf,
  StreamOf,
} from '../contract/index.ts'
import type { HandlerContext } from './context.ts'
import type { DeclaredError } from './errors.ts'
import type { EventClient } from './events.ts'
import type { GatheredReply, GatherOptions } from './gather.ts'
import type { JobClient } from './jobs.ts'

export interface CallOptions {
  /** Default: the endpoint's own, then 5 s. Never reaches past the deadline of the work the call is made in. */
  timeoutMs?: number
  /** Absolute, in ms of `now()` of `myelin/bus`, which is `Date.now()` as long as nobody sets the clock. */
  deadline?: number
  /** Cancels the call here and its handler on the other side. */
  signal?: AbortSignal
  /** More headers to send. */
  headers?: Record<string, string>
}

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

/** A handler's context with `fail` typed by the errors its endpoint declares. */
export type EndpointContext<Endpoint extends EndpointDefinition, State, Config> = Omit<
  HandlerContext<State, Config>,
  'fail'
> & {
  fail<Code extends keyof NonNullable<Endpoint['errors']> & string>(
    code: Code,
    data: InputOf<NonNullable<Endpoint['errors']>[Code]>,
    message?: string,
  ): never
}

export type EndpointHandler<Endpoint extends EndpointDefinition, State, Config> = (
  input: OutputOf<Endpoint['in']>,
  context: EndpointContext<Endpoint, State, Config>,
) => Endpoint['out'] extends StreamOf<infer Item>
  ? AsyncIterable<InputOf<Item>> | Iterable<InputOf<Item>>
  : InputOf<Endpoint['out']> | Promise<InputOf<Endpoint['out']>>

export type JobHandler<Job extends JobDefinition, State, Config> = (
  payload: OutputOf<Job['payload']>,
  context: HandlerContext<State, Config>,
) => unknown

/** A handler for every endpoint and job of a contract. */
export type Handlers<
  Endpoints extends Readonly<Record<string, EndpointDefinition>>,
  Jobs extends Readonly<Record<string, JobDefinition>>,
  State,
  Config,
> = {
  // NoInfer piece by piece: around the whole it would keep the handlers' state from being inferred from `setup`
  readonly [Name in keyof NoInfer<Endpoints>]: EndpointHandler<
    NoInfer<Endpoints>[Name],
    NoInfer<State>,
    NoInfer<Config>
  >
} & {
  readonly [Name in keyof NoInfer<Jobs>]: JobHandler<NoInfer<Jobs>[Name], NoInfer<State>, NoInfer<Config>>
}
