// Contracts: what a service offers, as data. Server, client, subjects, docs and permissions are read from it.
export { type AsyncApiOptions, asyncapi } from './asyncapi.ts'
export {
  type Audience,
  type ContractChange,
  type ContractDiff,
  diffAll,
  diffContracts,
  type Effect,
} from './compare/diff.ts'
export { contract, isContract, isStream, isVersion } from './contract.ts'
export {
  type Contract,
  type ContractDefinition,
  type Durable,
  type EndpointDefinition,
  type EventDefinition,
  type InputOf,
  type JobDefinition,
  type OutputOf,
  type Resilience,
  type Schema,
  type StreamOf,
  stream,
} from './definition.ts'
export { type Duration, durationMs } from './durations.ts'
export { endOfInput, isEndOfInput } from './end-of-input.ts'
export { jsonSchemaOf } from './json-schema.ts'
export { eventStream, jobStream } from './subjects.ts'
