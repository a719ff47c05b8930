// contract(): checks a definition once, so that everything made from it can rely on it.
import { failure } from '../bus/internal.ts'
import type { Contract, ContractDefinition, Schema, StreamOf } from './definition.ts'
import { type Duration, durationMs } from './durations.ts'
import type { FieldsOfPayloads } from './fields.ts'
import { checkKeys } from './keys.ts'

const nameForm = /^[a-zA-Z][a-zA-Z0-9_-]*$/
/** Beginnings of names that the library's own subjects and streams will have. */
const planned = /^(es|store|db)_/i
/** Names of contracts that the library publishes events under, and its own. */
const own: ReadonlySet<string> = new Set(['fleet', 'control', 'myelin'])
/** As semver.org suggests it, and as the schemas of the NATS service API have it. */
const semver =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/
/** Keys of a service definition; an endpoint or job of that name could not be told from them. */
const reserved = new Set(['config', 'setup', 'dispose', 'health', 'use', 'on', 'then', 'close', 'drain'])

/**
 * Defines what a service offers, as data.
 *
 * @example
 * export const airports = contract('airports', {
 *   version: '1.2.0',
 *   endpoints: { get: { in: z.object({ iata: Iata }), out: Airport, errors: { UNKNOWN: z.object({ iata: Iata }) }, idempotent: true } },
 *   events: { closed: { payload: Closure, key: 'iata', durable: { maxAge: '7d' } } },
 *   jobs: { reroute: { payload: Reroute, attempts: 5, backoff: { from: '1s', to: '1m' } } },
 * })
 *
 * @throws MyelinError INVALID_CONTRACT, naming the path
 */
export function contract<const Definition extends ContractDefinition>(
  name: string,
  definition: Definition & FieldsOfPayloads<Definition>,
): Contract<Definition> {
  if (own.has(name)) {
    throw invalid(
      `"${name}"`,
      `events of that name are those of the library (evt.${name}.…), and would meet yours; choose another, like ${name}-service`,
    )
  }
  return anyContract<Definition>(name, definition)
}

/**
 * @internal As {@link contract}, also of a name that is the library's own: for the library's contracts, and for what others
 * run already. @throws MyelinError INVALID_CONTRACT
 */
export function anyContract<const Definition extends ContractDefinition>(
  name: string,
  definition: Definition,
): Contract<Definition> {
  if (!nameForm.test(name))
    throw invalid(`"${name}"`, 'a contract name starts with a letter and holds letters, digits, - and _')
  const other = planned.exec(name)?.[0]
  if (other) {
    throw invalid(
      `"${name}"`,
      `names that begin with ${other} are kept for event stores, stores and databases; choose another, like ${name.slice(other.length) || 'my'}-service`,
    )
  }
  checkKeys(name, definition)
  if (!isVersion(definition.version)) {
    throw invalid(
      `${name}.version`,
      `expected a semantic version like '1.0.0', got ${JSON.stringify(definition.version)}`,
    )
  }
  const seen = new Map<string, string>()
  for (const part of ['endpoints', 'events', 'jobs'] as const) {
    for (const item of Object.keys(definition[part] ?? {})) {
      const where = `${name}.${part}.${item}`
      if (!nameForm.test(item)) throw invalid(where, 'a name starts with a letter and holds letters, digits, - and _')
      if (reserved.has(item)) throw invalid(where, `"${item}" is a reserved name; choose another`)
      const other = seen.get(item)
      if (other) throw invalid(where, `"${item}" is also one of the ${other}; names are unique within a contract`)
      seen.set(item, part)
    }
  }
  for (const [item, endpoint] of Object.entries(definition.endpoints ?? {})) {
    const where = `${name}.endpoints.${item}`
    checkSchema(endpoint.in, `${where}.in`)
    checkSchema(isStream(endpoint.out) ? endpoint.out.stream : endpoint.out, `${where}.out`)
    for (const [code, schema] of Object.entries(endpoint.errors ?? {})) {
      if (!/^[A-Z][A-Z0-9_]*$/.test(code)) throw invalid(`${where}.errors.${code}`, 'error codes are written LIKE_THIS')
      checkSchema(schema, `${where}.errors.${code}`)
    }
    checkPositive(endpoint.timeoutMs, `${where}.timeoutMs`)
    checkPositive(endpoint.maxInFlight, `${where}.maxInFlight`)
    if (endpoint.resilience?.hedgeAfterMs !== undefined && !endpoint.idempotent) {
      throw invalid(`${where}.resilience.hedgeAfterMs`, 'only an idempotent endpoint may be hedged')
    }
  }
  for (const [item, event] of Object.entries(definition.events ?? {})) {
    const where = `${name}.events.${item}`
    checkSchema(event.payload, `${where}.payload`)
    if (typeof event.durable === 'object') {
      checkDuration(event.durable.maxAge, `${where}.durable.maxAge`)
      checkDuration(event.durable.dedupWindow, `${where}.durable.dedupWindow`)
      checkPositive(event.durable.maxBytes, `${where}.durable.maxBytes`)
    }
  }
  for (const [item, job] of Object.entries(definition.jobs ?? {})) {
    const where = `${name}.jobs.${item}`
    checkSchema(job.payload, `${where}.payload`)
    for (const key of ['lease', 'timeout', 'maxAge'] as const) checkDuration(job[key], `${where}.${key}`)
    checkDuration(job.backoff?.from, `${where}.backoff.from`)
    checkDuration(job.backoff?.to, `${where}.backoff.to`)
    checkPositive(job.attempts, `${where}.attempts`)
    checkPositive(job.concurrency, `${where}.concurrency`)
  }
  return { name, definition }
}

/**
 * Whether a text is a semantic version.
 * @example isVersion('1.0.0-rc.1') // true
 */
export function isVersion(text: unknown): text is string {
  return typeof text === 'string' && semver.test(text)
}

/**
 * Whether an endpoint's reply is streamed.
 * @example const item = isStream(endpoint.out) ? endpoint.out.stream : endpoint.out
 */
export function isStream(out: Schema | StreamOf): out is StreamOf {
  return 'stream' in out
}

/**
 * Whether a value (a module's export, say) is a contract.
 * @example const contracts = Object.values(await import('./contracts.ts')).filter(isContract)
 */
export function isContract(value: unknown): value is Contract {
  const candidate = value as Partial<Contract> | null
  return (
    typeof candidate === 'object' &&
    typeof candidate?.name === 'string' &&
    typeof candidate.definition?.version === 'string'
  )
}

function invalid(where: string, why: string) {
  return failure('INVALID_CONTRACT', `contract ${where}: ${why}`)
}

function checkSchema(schema: unknown, where: string): void {
  const standard = (schema as Schema | undefined)?.['~standard']
  if (typeof standard?.validate !== 'function') {
    throw invalid(where, 'expected a schema of a Standard Schema library such as zod, valibot or arktype')
  }
}

function checkPositive(value: number | undefined, where: string): void {
  if (value !== undefined && !(Number.isFinite(value) && value > 0))
    throw invalid(where, `expected a number above 0, got ${value}`)
}

function checkDuration(value: Duration | undefined, where: string): void {
  if (value !== undefined) durationMs(value, `contract ${where}`)
}
