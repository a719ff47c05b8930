// A configuration's reference from its JSON Schema: a row per key, those of objects in it under their path.

export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly anyOf?: readonly JsonSchema[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
  readonly description?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: JsonSchema | boolean
  readonly required?: readonly string[]
  readonly items?: JsonSchema
}

/** Key, type, default or `required`, what is given here, what it is for. */
export function reference(schema: JsonSchema, given: unknown, path = ''): string[][] {
  const required = new Set(schema.required ?? [])
  const here = (given ?? {}) as Readonly<Record<string, unknown>>
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const at = path + key
    const value = here[key]
    const inner = rowsWithin(property, value, at)
    const row = [
      at,
      typeOf(property),
      property.default !== undefined ? JSON.stringify(property.default) : required.has(key) ? 'required' : '-',
      inner.length > 0 ? '' : (JSON.stringify(value) ?? ''),
      property.description ?? '',
    ]
    return [row, ...inner]
  })
}

/** Of an object its keys, of a map those of what it holds. */
function rowsWithin(schema: JsonSchema, given: unknown, at: string): string[][] {
  const own = reference(schema, given, `${at}.`)
  const held = schema.additionalProperties
  if (typeof held !== 'object' || !held.properties) return own
  return [...own, ...reference(held, undefined, `${at}.<name>.`)]
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ')
  if (schema.type === 'array') return `${schema.items ? typeOf(schema.items) : 'any'}[]`
  const range =
    schema.minimum !== undefined && schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER
      ? ` ${schema.minimum}…${schema.maximum}`
      : ''
  return `${String(schema.type ?? 'any')}${range}`
}
