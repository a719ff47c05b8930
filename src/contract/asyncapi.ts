// AsyncAPI 3.0 from contracts: the subjects, headers and schemas a client in any language needs.
// Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and its NATS binding.

import type { ChannelNote } from './compare/document.ts'
import { isStream } from './contract.ts'
import type { Contract, EndpointDefinition, Schema } from './definition.ts'
import { componentName, hoisted } from './hoisted.ts'
import { jsonSchemaOf } from './json-schema.ts'
import { endpointSubject, eventSubject, jobSubject, queueGroup } from './subjects.ts'

type Json = Record<string, unknown>

/** Title, version and servers of the document that {@link asyncapi} writes. */
export interface AsyncApiOptions {
  readonly title?: string
  readonly version?: string
  /** host:port of a server to name in the document. */
  readonly server?: string
}

/**
 * The AsyncAPI 3.0 document of one or more contracts, as plain data.
 * @example writeFileSync('asyncapi.json', JSON.stringify(asyncapi([airports, flights], { title: 'Airline' }), null, 2))
 */
export function asyncapi(contracts: readonly Contract[], options: AsyncApiOptions = {}): Json {
  const document = new Document()
  for (const [label, contract] of labelled(contracts)) document.add(contract, label)
  const [first] = contracts
  const only = contracts.length === 1 ? first : undefined
  return {
    asyncapi: '3.0.0',
    id: `urn:myelin:${contracts.map(({ name }) => name).join(':')}`,
    info: {
      title: options.title ?? contracts.map(({ name }) => name).join(', '),
      version: options.version ?? only?.definition.version ?? '1.0.0',
      ...(only?.definition.description ? { description: only.definition.description } : {}),
    },
    defaultContentType: 'application/json',
    ...(options.server ? { servers: { nats: { host: options.server, protocol: 'nats' } } } : {}),
    channels: document.channels,
    operations: document.operations,
    components: { messages: document.messages, schemas: document.schemas },
    'x-myelin': {
      contracts: [...new Set(contracts)].map(({ name, definition }) => ({ name, version: definition.version })),
    },
  }
}

/** What AsyncAPI has no words for, so that a document can be compared with another version of the contract. */
const note = (
  { name: contract, definition: { version } }: Contract,
  more: Omit<ChannelNote, 'contract' | 'version'>,
) => ({
  'x-myelin': { ...more, contract, version } satisfies ChannelNote,
})

/** Contracts of one name are told apart by their versions; the same one given twice is one. */
function labelled(contracts: readonly Contract[]): [label: string, contract: Contract][] {
  const distinct = [...new Set(contracts)]
  const labels = new Set<string>()
  return distinct.map((contract) => {
    const { name, definition } = contract
    const alone = distinct.every((other) => other === contract || other.name !== name)
    let label = alone ? name : componentName(`${name}-${definition.version}`)
    for (let n = 2; labels.has(label); n++) label = componentName(`${name}-${definition.version}-${n}`)
    labels.add(label)
    return [label, contract]
  })
}

const senderHeaders = {
  'Myelin-Caller': 'who sends it',
  'Myelin-Tenant': 'on whose behalf',
  traceparent: 'W3C trace context',
  tracestate: 'W3C trace context',
}

class Document {
  readonly channels: Json = {}
  readonly operations: Json = {}
  readonly messages: Json = {}
  readonly schemas: Json = {
    'myelin.requestHeaders': headersSchema({
      'Myelin-Timeout': 'milliseconds left when it was sent; counts from the arrival',
      'Myelin-Deadline': 'absolute end of the call, unix milliseconds; counts without Myelin-Timeout',
      ...senderHeaders,
    }),
    'myelin.errorHeaders': headersSchema({
      'Nats-Service-Error': 'what went wrong, for people',
      'Nats-Service-Error-Code': 'what went wrong, as a number like those of HTTP; 422: an error of the contract',
      'Myelin-Error-Code': 'what went wrong, for programs',
    }),
    'myelin.eventHeaders': headersSchema({
      'ce-specversion': 'CloudEvents 1.0',
      'ce-id': 'identity of the event',
      'ce-type': '<contract>.<event>',
      'ce-source': '/<contract>',
      'ce-time': 'when it happened, RFC 3339',
      'ce-datacontenttype': 'what the payload is',
      'content-type': 'of the payload',
      'Nats-Msg-Id': 'deduplication id, of durable events',
      ...senderHeaders,
    }),
    'myelin.jobHeaders': headersSchema({ 'Nats-Msg-Id': 'deduplication id', ...senderHeaders }),
    'myelin.error': {
      type: 'object',
      required: ['code', 'message'],
      properties: { code: { type: 'string' }, message: { type: 'string' }, data: {} },
    },
  }

  add(contract: Contract, label: string): void {
    const { endpoints = {}, events = {}, jobs = {} } = contract.definition
    for (const [name, endpoint] of Object.entries(endpoints)) this.#endpoint(contract, label, name, endpoint)
    for (const [name, event] of Object.entries(events)) {
      const id = `${label}.${name}`
      this.#message(id, event.payload, 'myelin.eventHeaders', event.description)
      const key = event.key
      this.channels[id] = {
        address: eventSubject(contract.name, name, key === undefined ? undefined : `{${parameterOf(key)}}`),
        messages: { event: reference(`messages/${id}`) },
        ...(event.description ? { description: event.description } : {}),
        ...parametersOf(key),
        ...note(contract, {
          kind: 'event',
          name,
          ...(key === undefined ? {} : { key }),
          ...(event.durable === undefined ? {} : { durable: event.durable }),
        }),
      }
      this.operations[`${id}.publish`] = operation(
        'send',
        id,
        'event',
        event.durable ? 'Kept in a JetStream stream; at least once, deduplicated by Nats-Msg-Id.' : 'At most once.',
      )
    }
    for (const [name, job] of Object.entries(jobs)) {
      const id = `${label}.${name}`
      this.#message(id, job.payload, 'myelin.jobHeaders', job.description)
      const subject = jobSubject(contract.name, name)
      this.channels[id] = {
        address: job.unique === undefined ? subject : `${subject}.{${parameterOf(job.unique)}}`,
        messages: { job: reference(`messages/${id}`) },
        ...parametersOf(job.unique),
        ...note(contract, { kind: 'job', name, ...(job.unique === undefined ? {} : { unique: job.unique }) }),
      }
      this.operations[`${id}.work`] = {
        ...operation(
          'receive',
          id,
          'job',
          `A work queue: at least once, ${job.attempts ?? 5} tries, then a dead letter.`,
        ),
        bindings: { nats: { queue: 'workers' } },
      }
    }
  }

  #endpoint(contract: Contract, label: string, name: string, endpoint: EndpointDefinition): void {
    const id = `${label}.${name}`
    const streamed = isStream(endpoint.out)
    this.#message(`${id}.request`, endpoint.in, 'myelin.requestHeaders', endpoint.description)
    this.#message(
      `${id}.reply`,
      isStream(endpoint.out) ? endpoint.out.stream : endpoint.out,
      undefined,
      streamed ? 'One item of the streamed reply.' : undefined,
    )
    this.messages[`${id}.error`] = {
      name: `${id}.error`,
      headers: reference('schemas/myelin.errorHeaders'),
      payload: this.#errors(id, endpoint),
    }
    this.channels[id] = {
      address: endpointSubject(contract.name, name),
      messages: { request: reference(`messages/${id}.request`) },
      ...note(contract, {
        kind: 'endpoint',
        name,
        streamed,
        idempotent: endpoint.idempotent === true,
        claimCheck: endpoint.claimCheck === true,
      }),
    }
    this.channels[`${id}.reply`] = {
      address: null,
      messages: { reply: reference(`messages/${id}.reply`), error: reference(`messages/${id}.error`) },
    }
    this.operations[`${id}.handle`] = {
      ...operation('receive', id, 'request', endpoint.description),
      bindings: { nats: { queue: queueGroup } },
      reply: {
        address: { description: 'the reply subject of the request', location: '$message.header#/reply' },
        channel: { $ref: pointer('channels', `${id}.reply`) },
        messages: [
          { $ref: `${pointer('channels', `${id}.reply`)}/messages/reply` },
          { $ref: `${pointer('channels', `${id}.reply`)}/messages/error` },
        ],
      },
    }
  }

  #errors(id: string, endpoint: EndpointDefinition): Json {
    const declared = Object.entries(endpoint.errors ?? {})
    if (declared.length === 0) return reference('schemas/myelin.error')
    const variants = declared.map(([code, schema]) => {
      const name = componentName(`${id}.error.${code}`)
      const detail = `${name}.data`
      this.#schema(detail, schema)
      this.schemas[name] = {
        type: 'object',
        required: ['code', 'message', 'data'],
        properties: { code: { const: code }, message: { type: 'string' }, data: reference(`schemas/${detail}`) },
      }
      return reference(`schemas/${name}`)
    })
    return { anyOf: [...variants, reference('schemas/myelin.error')] }
  }

  #schema(id: string, schema: Schema): void {
    const found = jsonSchemaOf(schema) ?? {
      description: 'a schema whose library offers no JSON Schema',
      'x-myelin-unknown': true,
    }
    for (const [name, part] of hoisted(found, id)) this.schemas[name] = part
  }

  #message(id: string, schema: Schema, headers: string | undefined, description: string | undefined): void {
    this.#schema(id, schema)
    this.messages[id] = {
      name: id,
      contentType: 'application/json',
      ...(description ? { summary: description } : {}),
      ...(headers ? { headers: reference(`schemas/${headers}`) } : {}),
      payload: reference(`schemas/${id}`),
    }
  }
}

function operation(action: 'send' | 'receive', channel: string, message: string, summary: string | undefined): Json {
  const ref = pointer('channels', channel)
  return {
    action,
    channel: { $ref: ref },
    ...(summary ? { summary } : {}),
    messages: [{ $ref: `${ref}/messages/${message}` }],
  }
}

const pointer = (part: string, name: string) => `#/${part}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
const reference = (path: string): Json => ({ $ref: `#/components/${path}` })

/** A field's name as a parameter of an address, which takes letters, digits, `_` and `-`. */
const parameterOf = (field: string) => (/^[\w-]+$/.test(field) ? field : 'key')

function parametersOf(field: string | undefined): Json {
  if (field === undefined) return {}
  return { parameters: { [parameterOf(field)]: { description: `field "${field}" of the payload` } } }
}

function headersSchema(described: Record<string, string>): Json {
  const properties = Object.fromEntries(
    Object.entries(described).map(([name, description]) => [name, { type: 'string', description }]),
  )
  return { type: 'object', properties }
}
