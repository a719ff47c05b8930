// The NATS service API (ADR-32): every service answers PING, INFO and STATS on $SRV, so that any NATS tool sees it.
// An answer always fits into a message: what is too much is left out step by step, schemas first, and the metadata says
// so; the whole INFO can then be fetched part by part, see `docs/wire.md`.
import { type Bus, type BusSubscription, boundedText, header, headerLine, readHeaders } from '../bus/internal.ts'
import type { Contract } from '../contract/internal.ts'
import { jsonSchemaOf, queueGroup } from '../contract/internal.ts'
import type { EndpointServer } from './endpoint-server.ts'

interface Discoverable {
  readonly bus: Bus
  readonly contract: Contract
  readonly instance: string
  readonly endpoints: readonly EndpointServer[]
  readonly metadata: Readonly<Record<string, string>>
  /** Counters beyond requests: jobs and events handled, as the service's own `data`. */
  readonly data: (endpoint: string) => unknown
}

/** Service metadata that says what an answer had to leave out. */
const leftOut = 'myelin-left-out'
/** The size of the whole INFO, where it had to leave something out. */
export const infoBytes = 'myelin-info-bytes'

interface Described {
  readonly metadata: Readonly<Record<string, string>>
  readonly description?: string
  readonly endpoints?: readonly {
    readonly metadata?: Readonly<Record<string, string>>
    readonly last_error?: string
    readonly data?: unknown
  }[]
}

/** Starts answering; call the result to stop. */
export function announce(service: Discoverable): () => void {
  const { bus, contract, instance, metadata } = service
  const started = new Date().toISOString()
  const identity = { name: contract.name, id: instance, version: contract.definition.version, metadata }
  let encodedInfo: Uint8Array | undefined
  const info = () => {
    encodedInfo ??= encode({
      type: 'io.nats.micro.v1.info_response',
      ...identity,
      metadata: { ...metadata, ...payloadSchemas(contract) },
      description: contract.definition.description ?? '',
      endpoints: service.endpoints.map(({ name, subject, endpoint }) => ({
        name,
        subject,
        queue_group: queueGroup,
        metadata: endpointMetadata(contract, name, endpoint.idempotent === true),
      })),
    })
    return encodedInfo
  }
  const ping = { type: 'io.nats.micro.v1.ping_response', ...identity }
  const stats = () => ({
    type: 'io.nats.micro.v1.stats_response',
    ...identity,
    started,
    endpoints: service.endpoints.map(({ name, subject, stats }) => ({
      name,
      subject,
      queue_group: queueGroup,
      num_requests: stats.requests,
      num_errors: stats.errors,
      last_error: stats.lastError,
      processing_time: Math.floor(stats.processingNs),
      average_processing_time: stats.requests === 0 ? 0 : Math.floor(stats.processingNs / stats.requests),
      data: service.data(name),
    })),
  })
  let fittingInfo: { readonly limit: number; readonly data: Uint8Array } | undefined
  const replies: Record<string, () => Uint8Array> = {
    PING: () => fitting(ping, bus.maxPayloadBytes),
    INFO: () => {
      const limit = bus.maxPayloadBytes
      const whole = info()
      if (whole.length <= limit) return whole
      // what fits is looked for once: a service of 150 endpoints has megabytes of schemas
      if (fittingInfo?.limit !== limit) {
        const answer = JSON.parse(Buffer.from(whole).toString()) as Described
        fittingInfo = { limit, data: fitting(withMetadata(answer, { [infoBytes]: String(whole.length) }), limit) }
      }
      return fittingInfo.data
    },
    STATS: () => fitting(stats(), bus.maxPayloadBytes),
  }
  const subscriptions: BusSubscription[] = []
  for (const [verb, reply] of Object.entries(replies)) {
    const own = `$SRV.${verb}.${contract.name}.${instance}`
    for (const subject of [`$SRV.${verb}`, `$SRV.${verb}.${contract.name}`, own]) {
      subscriptions.push(
        bus.subscribe(subject, (message) => {
          if (!message.reply) return
          const offset = verb === 'INFO' && subject === own ? readHeaders(message).get(header.offset) : undefined
          if (offset === undefined) bus.publish(message.reply, reply())
          else sendPart(bus, message.reply, info(), Number(offset))
        }),
      )
    }
  }
  return () => {
    for (const subscription of subscriptions) subscription.unsubscribe()
  }
}

/** The part of a text that begins at a byte, as much as fits into a message. */
function sendPart(bus: Bus, reply: string, whole: Uint8Array, offset: number): void {
  const from = Number.isSafeInteger(offset) && offset >= 0 ? Math.min(offset, whole.length) : 0
  const lines = headerLine(header.offset, `${from}/${whole.length}`)
  bus.publish(reply, whole.subarray(from, from + bus.maxPayloadBytes - lines.length - 128), lines)
}

const encode = (answer: unknown) => Buffer.from(JSON.stringify(answer))

const withMetadata = <Answer extends Described>(answer: Answer, more: Record<string, string>): Answer => ({
  ...answer,
  metadata: { ...answer.metadata, ...more },
})

const schemaKeys = new Set(['request_schema', 'response_schema', 'error_schemas', 'event_schemas', 'job_schemas'])
const pick = (metadata: Readonly<Record<string, string>> | undefined, keep: (key: string) => boolean) =>
  Object.fromEntries(Object.entries(metadata ?? {}).filter(([key]) => keep(key)))

/** What an answer can do without, the least missed first. */
const steps: readonly { readonly what: string; readonly without: (answer: Described) => Described }[] = [
  {
    what: 'schemas',
    without: (answer) => ({
      ...eachEndpoint(answer, ({ metadata, ...rest }) => ({
        ...rest,
        ...(metadata ? { metadata: pick(metadata, (key) => !schemaKeys.has(key)) } : {}),
      })),
      metadata: pick(answer.metadata, (key) => !schemaKeys.has(key)),
    }),
  },
  {
    what: 'descriptions',
    without: (answer) => ({
      ...eachEndpoint(answer, ({ metadata, last_error, ...rest }) => ({
        ...rest,
        ...(metadata ? { metadata: pick(metadata, (key) => key !== 'description') } : {}),
        ...(last_error === undefined ? {} : { last_error: boundedText(last_error, 40) }),
      })),
      ...(answer.description === undefined ? {} : { description: boundedText(answer.description, 100) }),
    }),
  },
  {
    what: 'metadata',
    without: (answer) => ({
      ...eachEndpoint(answer, ({ metadata, data: _, ...rest }) => ({ ...rest, ...(metadata ? { metadata: {} } : {}) })),
      metadata: pick(answer.metadata, (key) => key === infoBytes),
    }),
  },
]

type Endpoint = NonNullable<Described['endpoints']>[number]
const eachEndpoint = (answer: Described, change: (endpoint: Endpoint) => Endpoint): Described =>
  answer.endpoints ? { ...answer, endpoints: answer.endpoints.map(change) } : answer

/** An answer as JSON of at most so many bytes; what had to be left out is named in its metadata. */
function fitting(answer: Described, maxBytes: number): Uint8Array {
  let data = encode(answer)
  let less = answer
  let omitted = ''
  for (const { what, without } of steps) {
    if (data.length <= maxBytes) return data
    omitted = omitted === '' ? what : `${omitted}, ${what}`
    less = without(less)
    data = encode(withMetadata(less, { [leftOut]: omitted }))
  }
  const { endpoints = [] } = less
  for (let count = endpoints.length; data.length > maxBytes && count > 0; ) {
    count = Math.floor(count / 2)
    data = encode(
      withMetadata(
        { ...less, endpoints: endpoints.slice(0, count) },
        {
          [leftOut]: `${omitted}, ${endpoints.length - count} of ${endpoints.length} endpoints`,
        },
      ),
    )
  }
  return data
}

/** ADR-32 metadata is text only: the schemas travel as JSON text. */
function endpointMetadata(contract: Contract, name: string, idempotent: boolean): Record<string, string> {
  const endpoint = contract.definition.endpoints?.[name]
  if (!endpoint) return {}
  const out = 'stream' in endpoint.out ? endpoint.out.stream : endpoint.out
  const metadata: Record<string, string> = {
    idempotent: String(idempotent),
    streamed: String('stream' in endpoint.out),
    ...(endpoint.errors ? { errors: Object.keys(endpoint.errors).join(',') } : {}),
    ...(endpoint.claimCheck ? { claim_check: 'true' } : {}),
  }
  const request = jsonSchemaOf(endpoint.in)
  const response = jsonSchemaOf(out)
  if (request) metadata.request_schema = JSON.stringify(request)
  if (response) metadata.response_schema = JSON.stringify(response)
  const errors = Object.entries(endpoint.errors ?? {}).flatMap(([code, schema]) => {
    const data = jsonSchemaOf(schema)
    return data ? [[code, data] as const] : []
  })
  if (errors.length > 0) metadata.error_schemas = JSON.stringify(Object.fromEntries(errors))
  if (endpoint.description) metadata.description = endpoint.description
  return metadata
}

/** What events and jobs carry, by name; in INFO alone, which is asked for seldom. */
function payloadSchemas({ definition }: Contract): Record<string, string> {
  const metadata: Record<string, string> = {}
  for (const [key, offers = {}] of [
    ['event_schemas', definition.events],
    ['job_schemas', definition.jobs],
  ] as const) {
    const schemas = Object.entries(offers).flatMap(([name, { payload }]) => {
      const schema = jsonSchemaOf(payload)
      return schema ? [[name, schema] as const] : []
    })
    if (schemas.length > 0) metadata[key] = JSON.stringify(Object.fromEntries(schemas))
  }
  return metadata
}
