// Contracts read back from an AsyncAPI document that `asyncapi()` made: what they are is in its `x-myelin` extensions,
// what they carry in its schemas.
import { failure } from '../../bus/internal.ts'
import type { Durable } from '../definition.ts'
import { resolved } from './forms.ts'
import type { ContractShape, EndpointShape, EventShape, JobShape, SchemaIn } from './shape.ts'

type Json = Readonly<Record<string, unknown>>

/** What a channel's `x-myelin` says; the rest of a shape is in the document itself. */
export interface ChannelNote {
  readonly kind: 'endpoint' | 'event' | 'job'
  readonly contract: string
  readonly version: string
  readonly name: string
  readonly streamed?: boolean
  readonly idempotent?: boolean
  readonly claimCheck?: boolean
  readonly key?: string
  readonly durable?: true | Durable
  readonly unique?: string
}

interface Mutable {
  readonly name: string
  readonly version: string
  readonly endpoints: Record<string, EndpointShape>
  readonly events: Record<string, EventShape>
  readonly jobs: Record<string, JobShape>
}

/**
 * The contracts of an AsyncAPI document.
 * @throws MyelinError INVALID_CONTRACT when it was not made by `asyncapi()` or `myelin contract doc`
 */
export function shapesOfDocument(document: unknown, where: string): ContractShape[] {
  const root = isObject(document) ? document : {}
  if (typeof root.asyncapi !== 'string')
    throw failure(
      'INVALID_CONTRACT',
      `${where} is no AsyncAPI document; \`myelin contract doc\` makes one of a contract`,
    )
  const found = new Map<string, Mutable>()
  for (const note of isObject(root['x-myelin']) && Array.isArray(root['x-myelin'].contracts)
    ? root['x-myelin'].contracts
    : []) {
    if (!isObject(note) || typeof note.name !== 'string' || typeof note.version !== 'string') continue
    found.set(`${note.name} ${note.version}`, {
      name: note.name,
      version: note.version,
      endpoints: {},
      events: {},
      jobs: {},
    })
  }
  for (const [id, channel] of Object.entries(isObject(root.channels) ? root.channels : {})) {
    const note = isObject(channel) && isObject(channel['x-myelin']) ? (channel['x-myelin'] as Json) : undefined
    const shape = note && found.get(`${note.contract} ${note.version}`)
    if (note && shape && typeof note.name === 'string') add(shape, note as unknown as ChannelNote, root, id)
  }
  if (found.size === 0) {
    throw failure(
      'INVALID_CONTRACT',
      `${where} does not say which contracts it was made from; \`myelin contract doc\` writes that into its x-myelin`,
    )
  }
  return [...found.values()]
}

function add(shape: Mutable, note: ChannelNote, root: Json, id: string): void {
  const { kind, name } = note
  if (kind === 'endpoint') {
    shape.endpoints[name] = {
      request: payloadOf(root, `${id}.request`),
      reply: payloadOf(root, `${id}.reply`),
      streamed: note.streamed === true,
      idempotent: note.idempotent === true,
      claimCheck: note.claimCheck === true,
      errors: errorsOf(root, id),
    }
  } else if (kind === 'event') {
    const durable = note.durable === true ? {} : note.durable
    shape.events[name] = { payload: payloadOf(root, id), key: note.key, durable }
  } else if (kind === 'job') shape.jobs[name] = { payload: payloadOf(root, id), unique: note.unique }
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

function part(root: Json, kind: 'messages' | 'schemas', id: string): Json | undefined {
  const components = isObject(root.components) ? root.components : {}
  const of = isObject(components[kind]) ? components[kind] : {}
  return Object.hasOwn(of, id) && isObject(of[id]) ? of[id] : undefined
}

function payloadOf(root: Json, id: string): SchemaIn | undefined {
  const schema = part(root, 'messages', id)?.payload
  const target = isObject(schema) && typeof schema.$ref === 'string' ? resolved(schema.$ref, root) : schema
  if (!isObject(target) || target['x-myelin-unknown'] === true) return undefined
  return { schema: target, root }
}

/** Of each declared error: `{ properties: { code: { const }, data } }`. */
function errorsOf(root: Json, id: string): Record<string, SchemaIn> {
  const payload = part(root, 'messages', `${id}.error`)?.payload
  const variants = isObject(payload) && Array.isArray(payload.anyOf) ? payload.anyOf : []
  const found: Record<string, SchemaIn> = {}
  for (const variant of variants) {
    const schema = isObject(variant) && typeof variant.$ref === 'string' ? resolved(variant.$ref, root) : variant
    const { code, data } = isObject(schema) && isObject(schema.properties) ? schema.properties : {}
    if (isObject(code) && typeof code.const === 'string') found[code.const] = { schema: data, root }
  }
  return found
}
