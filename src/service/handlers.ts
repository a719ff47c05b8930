// What the handlers of a contract must be; their types flow from the contract. Those of its client are in types.ts.
import type { EndpointDefinition, InputOf, JobDefinition, OutputOf, StreamOf } from '../contract/internal.ts'
import type { HandlerContext } from './context.ts'

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
