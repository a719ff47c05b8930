// Finding services that are running, by the NATS service API (ADR-32), and calling them without their contract at hand.

import type { Msg } from '@nats-io/nats-core'
import {
  type Bus,
  failure,
  gather,
  header,
  headerLine,
  isRecord,
  MyelinError,
  now,
  readHeaders,
  readJsonObject,
} from '../bus/internal.ts'
import {
  anyContract,
  type Contract,
  type ContractDefinition,
  isVersion,
  type Schema,
  stream,
} from '../contract/internal.ts'
import { infoBytes } from './announce.ts'

/** No service says that much of itself; more is somebody's mistake. */
const maxInfoBytes = 64 * 1024 ** 2

/** An endpoint as its service describes it. */
export interface FoundEndpoint {
  readonly name: string
  readonly subject: string
  readonly metadata: Readonly<Record<string, string>>
  readonly requests: number
  readonly errors: number
  /** Mean time of handling, in milliseconds. */
  readonly averageMs: number
  readonly lastError: string
}

/** A running instance of a service; Myelin's or any other that speaks ADR-32. */
export interface FoundService {
  readonly name: string
  readonly id: string
  readonly version: string
  readonly description: string
  readonly started: string
  readonly metadata: Readonly<Record<string, string>>
  readonly endpoints: readonly FoundEndpoint[]
}

interface Answer {
  readonly type: string
  readonly name: string
  readonly id: string
  readonly version: string
  readonly description?: string
  readonly started?: string
  readonly metadata?: Record<string, string>
  readonly endpoints?: readonly {
    readonly name: string
    readonly subject: string
    readonly metadata?: Record<string, string>
    readonly num_requests?: number
    readonly num_errors?: number
    readonly average_processing_time?: number
    readonly last_error?: string
  }[]
}

/**
 * The instances that answer within `waitMs` (default 300), sorted by name.
 * @example const running = await discover(bus, { service: 'airports' })
 * @throws MyelinError DISCONNECTED, PERMISSION_DENIED
 */
export async function discover(bus: Bus, options: { service?: string; waitMs?: number } = {}): Promise<FoundService[]> {
  const suffix = options.service === undefined ? '' : `.${options.service}`
  const waitMs = options.waitMs ?? 300
  const [infos, stats] = await Promise.all([
    ask(bus, `$SRV.INFO${suffix}`, waitMs),
    ask(bus, `$SRV.STATS${suffix}`, waitMs),
  ])
  const whole = await Promise.all(infos.map((info) => completed(bus, info)))
  const statsOf = new Map(stats.map((answer) => [answer.id, answer]))
  return whole
    .map((info): FoundService => {
      const counted = statsOf.get(info.id)
      return {
        name: info.name,
        id: info.id,
        version: info.version,
        description: info.description ?? '',
        started: counted?.started ?? '',
        metadata: info.metadata ?? {},
        endpoints: (info.endpoints ?? []).map(({ name, subject, metadata = {} }) => {
          const of = counted?.endpoints?.find((endpoint) => endpoint.name === name)
          return {
            name,
            subject,
            metadata,
            requests: of?.num_requests ?? 0,
            errors: of?.num_errors ?? 0,
            averageMs: (of?.average_processing_time ?? 0) / 1e6,
            lastError: of?.last_error ?? '',
          }
        }),
      }
    })
    .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id))
}

/**
 * The contracts that instances of a service run with, as far as they can be understood.
 * @throws MyelinError DISCONNECTED, PERMISSION_DENIED
 */
export async function runningContracts(bus: Bus, service: string): Promise<{ instance: string; contract: Contract }[]> {
  const infos = await Promise.all((await ask(bus, `$SRV.INFO.${service}`, 1_000)).map((info) => completed(bus, info)))
  return infos.flatMap(({ id, name, version, metadata = {}, endpoints = [] }) => {
    const described = endpoints.map((endpoint) => ({ name: endpoint.name, metadata: endpoint.metadata ?? {} }))
    try {
      return [{ instance: id, contract: contractOf({ name, version, metadata, endpoints: described }) }]
    } catch {
      return [] // another program's names may be none that a contract has
    }
  })
}

/** An answer on the service API's subjects; undefined when what answers there is no service. */
function readAnswer(data: Uint8Array): Answer | undefined {
  const answer = readJsonObject(data)
  if (!answer || ![answer.name, answer.id, answer.version].every((text) => typeof text === 'string')) return undefined
  const endpoints = Array.isArray(answer.endpoints) ? answer.endpoints : []
  return {
    ...(answer as unknown as Answer),
    metadata: textsOf(answer.metadata),
    endpoints: endpoints
      .filter((endpoint) => isRecord(endpoint) && typeof endpoint.name === 'string')
      .map((endpoint) => ({ ...endpoint, metadata: textsOf(endpoint.metadata) })),
  }
}

function textsOf(metadata: unknown): Record<string, string> {
  if (!isRecord(metadata)) return {}
  return Object.fromEntries(
    Object.entries(metadata).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

/** Until nobody has said anything for a third of the time, or the time is over. */
async function ask(bus: Bus, subject: string, waitMs: number): Promise<Answer[]> {
  const found: Answer[] = []
  const until = ({ data }: Msg) => {
    const answer = readAnswer(data)
    if (answer) found.push(answer)
    return false
  }
  try {
    await gather(bus, subject, new Uint8Array(0), { until, deadline: now() + waitMs, quietMs: waitMs / 3 }).ended
  } catch (error) {
    if (!(error instanceof MyelinError && error.code === 'NO_RESPONDERS')) throw error
  }
  return found
}

/** An INFO that had to leave something out to fit into a message, fetched part by part; as it came where that fails. */
async function completed(bus: Bus, info: Answer): Promise<Answer> {
  const bytes = Number(info.metadata?.[infoBytes])
  if (!(bytes > 0 && bytes <= maxInfoBytes) || !/^[\w-]+\.[\w-]+$/.test(`${info.name}.${info.id}`)) return info
  const parts: Uint8Array[] = []
  try {
    for (let have = 0; have < bytes; ) {
      const reply = await bus.request(`$SRV.INFO.${info.name}.${info.id}`, new Uint8Array(0), {
        headerLines: headerLine(header.offset, String(have)),
      })
      if (readHeaders(reply).get(header.offset) !== `${have}/${bytes}` || reply.data.length === 0) return info
      parts.push(reply.data)
      have += reply.data.length
    }
    return readAnswer(Buffer.concat(parts)) ?? info
  } catch {
    return info // gone meanwhile
  }
}

/** Takes any JSON; where the service published its JSON Schema, `jsonSchemaOf` gives that. */
function described(schema: Record<string, unknown> | undefined): Schema {
  return {
    '~standard': {
      version: 1,
      vendor: 'myelin',
      validate: (value) => ({ value }),
      ...(schema ? { jsonSchema: { input: () => schema, output: () => schema } } : {}),
    },
  }
}

const recordOf = (value: unknown) => (isRecord(value) ? value : undefined)
const objectOf = (text: string | undefined) => (text === undefined ? undefined : readJsonObject(Buffer.from(text)))

/**
 * A contract made of what a running service says of itself: right in its names. A client made of it checks nothing and so
 * takes and gives any JSON; what the service said of its schemas is kept as JSON Schema. For tools; programs use the
 * contract itself.
 * @throws MyelinError NO_RESPONDERS when no instance answers
 */
export async function discoverContract(bus: Bus, service: string): Promise<Contract> {
  const [found] = await discover(bus, { service })
  if (!found) throw failure('NO_RESPONDERS', `no instance of service "${service}" answers`)
  return contractOf(found)
}

/**
 * The contract that an instance says it has, as `discoverContract` makes it.
 * @throws MyelinError INVALID_CONTRACT when another program's names are none that a contract may have
 */
export function contractOf(
  found: Pick<FoundService, 'name' | 'version' | 'metadata'> & {
    readonly endpoints: readonly Pick<FoundEndpoint, 'name' | 'metadata'>[]
  },
): Contract {
  const endpoints = found.endpoints.map(({ name, metadata }) => {
    const reply = described(objectOf(metadata.response_schema))
    const errorSchemas = objectOf(metadata.error_schemas) ?? {}
    return [
      name,
      {
        in: described(objectOf(metadata.request_schema)),
        out: metadata.streamed === 'true' ? stream(reply) : reply,
        idempotent: metadata.idempotent === 'true',
        errors: Object.fromEntries(
          (metadata.errors ?? '')
            .split(',')
            .filter(Boolean)
            .map((code) => [code, described(recordOf(errorSchemas[code]))]),
        ),
        claimCheck: metadata.claim_check === 'true',
      },
    ] as const
  })
  const offers = offersOf(found.metadata)
  const schemasOf = (kind: 'event' | 'job') => {
    const schemas = objectOf(found.metadata[`${kind}_schemas`]) ?? {}
    return (name: string) => described(recordOf(schemas[name]))
  }
  const [eventSchema, jobSchema] = [schemasOf('event'), schemasOf('job')]
  return anyContract(found.name, {
    version: isVersion(found.version) ? found.version : '0.0.0',
    endpoints: Object.fromEntries(endpoints),
    events: Object.fromEntries(
      Object.entries(offers.events).map(([name, { key, durable }]) => [
        name,
        { payload: eventSchema(name), ...(key ? { key } : {}), ...(durable ? { durable } : {}) },
      ]),
    ),
    jobs: Object.fromEntries(
      Object.entries(offers.jobs).map(([name, { unique }]) => [
        name,
        { payload: jobSchema(name), ...(unique ? { unique } : {}) },
      ]),
    ),
  } as ContractDefinition)
}

/** What a service offers besides endpoints, in ADR-32's text-only metadata. */
interface Offers {
  readonly events: Readonly<
    Record<string, { key?: string; durable?: NonNullable<ContractDefinition['events']>[string]['durable'] }>
  >
  readonly jobs: Readonly<Record<string, { unique?: string }>>
}

export function offersMetadata({ definition }: Contract): Record<string, string> {
  const { events = {}, jobs = {} } = definition
  const metadata: Record<string, string> = {}
  const eventOffers = Object.entries(events).map(([name, { key, durable }]) => [name, { key, durable }])
  const jobOffers = Object.entries(jobs).map(([name, { unique }]) => [name, { unique }])
  if (eventOffers.length > 0) metadata.events = JSON.stringify(Object.fromEntries(eventOffers))
  if (jobOffers.length > 0) metadata.jobs = JSON.stringify(Object.fromEntries(jobOffers))
  return metadata
}

function offersOf(metadata: Readonly<Record<string, string>>): Offers {
  // another program's metadata of the same name may be anything
  const read = (text = '{}') =>
    Object.fromEntries(Object.entries(readJsonObject(Buffer.from(text)) ?? {}).filter(([, offer]) => isRecord(offer)))
  return { events: read(metadata.events), jobs: read(metadata.jobs) } as Offers
}
