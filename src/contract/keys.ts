// Keys of a contract's definition: one that nobody knows is a typing error, and what it was to say would be left out.
import { failure, unknownKey } from '../bus/internal.ts'
import type {
  ContractDefinition,
  Durable,
  EndpointDefinition,
  EventDefinition,
  JobDefinition,
  Resilience,
} from './definition.ts'

/** All keys of a type, so that a new one cannot be forgotten here. */
type Keys<T> = Readonly<Record<keyof T, true>>

const ofContract: Keys<ContractDefinition> = {
  version: true,
  description: true,
  endpoints: true,
  events: true,
  jobs: true,
}
const ofEndpoint: Keys<EndpointDefinition> = {
  description: true,
  in: true,
  out: true,
  errors: true,
  idempotent: true,
  timeoutMs: true,
  claimCheck: true,
  maxInFlight: true,
  resilience: true,
}
const ofResilience: Keys<Resilience> = { retries: true, bulkhead: true, breaker: true, hedgeAfterMs: true }
const ofEvent: Keys<EventDefinition> = { description: true, payload: true, key: true, durable: true }
const ofDurable: Keys<Durable> = {
  maxAge: true,
  maxBytes: true,
  maxMessages: true,
  storage: true,
  replicas: true,
  dedupWindow: true,
  discard: true,
}
const ofJob: Keys<JobDefinition> = {
  description: true,
  payload: true,
  attempts: true,
  backoff: true,
  concurrency: true,
  lease: true,
  timeout: true,
  maxAge: true,
  maxBytes: true,
  unique: true,
}

/** @throws MyelinError INVALID_CONTRACT, naming the path and what may have been meant */
export function checkKeys(name: string, definition: ContractDefinition): void {
  check(name, definition, ofContract)
  for (const [item, endpoint] of Object.entries(definition.endpoints ?? {})) {
    check(`${name}.endpoints.${item}`, endpoint, ofEndpoint)
    check(`${name}.endpoints.${item}.resilience`, endpoint.resilience, ofResilience)
    check(`${name}.endpoints.${item}.resilience.breaker`, endpoint.resilience?.breaker, { failures: true, forMs: true })
  }
  for (const [item, event] of Object.entries(definition.events ?? {})) {
    check(`${name}.events.${item}`, event, ofEvent)
    check(`${name}.events.${item}.durable`, event.durable, ofDurable)
  }
  for (const [item, job] of Object.entries(definition.jobs ?? {})) {
    check(`${name}.jobs.${item}`, job, ofJob)
    check(`${name}.jobs.${item}.backoff`, job.backoff, { from: true, to: true })
  }
}

function check(where: string, value: unknown, known: Readonly<Record<string, true>>): void {
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(known, key)) {
      throw failure('INVALID_CONTRACT', `${where}: ${unknownKey(key, Object.keys(known))}`)
    }
  }
}
