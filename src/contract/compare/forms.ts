// JSON Schemas brought into a form that can be compared: `$ref` resolved, `allOf` merged, and every choice (`anyOf`,
// `oneOf`, `enum`, several types, `nullable`) spread out into alternatives that have one type each.
import type { SchemaIn } from './shape.ts'

export type JsonObject = Readonly<Record<string, unknown>>

const typeNames = ['null', 'boolean', 'number', 'string', 'array', 'object'] as const
type TypeName = (typeof typeNames)[number] | 'integer'

/** All values of a type that its keywords allow. */
export interface TypeForm {
  readonly type: TypeName
  readonly keywords: JsonObject
}

/** One alternative of a schema: a single value, or a type. */
export type Form = { readonly value: unknown } | TypeForm

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Keywords that say nothing about values. */
const notes = new Set([
  ...['$schema', '$id', 'id', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly', '$anchor'],
])

/** Whether a schema says nothing about values. */
export const isOpen = (schema: unknown): boolean =>
  schema === undefined ||
  schema === true ||
  (isObject(schema) && Object.keys(schema).every((key) => notes.has(key) || key.startsWith('x-')))

/** The alternatives of a schema; what lies within objects and lists stays as it is written. */
export function formsOf({ schema, root }: SchemaIn, depth = 0): readonly Form[] {
  if (schema === false || depth > maxDepth) return []
  const flat = flattened(schema, root, depth)
  if (flat === false) return []
  for (const choice of ['anyOf', 'oneOf'] as const) {
    const { [choice]: options, ...rest } = flat
    if (!Array.isArray(options)) continue
    return options.flatMap((option) =>
      formsOf({ schema: isOpen(rest) ? option : { allOf: [rest, option] }, root }, depth + 1),
    )
  }
  const { type, nullable, const: only, enum: some, ...keywords } = flat
  const types = (Array.isArray(type) ? type : type === undefined ? typeNames : [type]) as readonly TypeName[]
  const typed = (value: unknown) => type === undefined || types.some((one) => hasType(value, one))
  const forms: Form[] =
    'const' in flat
      ? [only]
          .filter((value) => typed(value) && (!Array.isArray(some) || some.some((one) => same(one, value))))
          .map((value) => ({ value }))
      : Array.isArray(some)
        ? some.filter(typed).map((value) => ({ value }))
        : types.flatMap((one): Form[] => {
            if (one === 'null') return [{ value: null }]
            if (one === 'boolean') return [{ value: true }, { value: false }]
            return [{ type: one, keywords }]
          })
  return nullable === true ? [...forms, { value: null }] : forms
}

const maxDepth = 40

/** A schema with its own `$ref` and `allOf` replaced by what they say. */
function flattened(schema: unknown, root: unknown, depth: number): JsonObject | false {
  if (schema === false || depth > maxDepth) return false
  if (!isObject(schema)) return {}
  const { $ref, allOf, ...own } = schema
  const parts: unknown[] = []
  if (typeof $ref === 'string') parts.push(resolved($ref, root))
  if (Array.isArray(allOf)) parts.push(...allOf)
  let merged: JsonObject = own
  for (const part of parts) {
    const flat = flattened(part, root, depth + 1)
    if (flat === false) return false
    merged = conjunction(merged, flat)
  }
  return merged
}

/** Where a reference within a document leads; what leads nowhere says nothing. */
export function resolved(ref: string, root: unknown): unknown {
  if (!ref.startsWith('#')) return {}
  let at: unknown = root
  for (const step of ref.slice(1).split('/').filter(Boolean)) {
    let name = step
    try {
      name = decodeURIComponent(step)
    } catch {
      // as it is written
    }
    at = (at as Record<string, unknown> | undefined)?.[name.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return at ?? {}
}

const tightest: Readonly<Record<string, (a: number, b: number) => number>> = {
  ...Object.fromEntries(
    ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'].map((key) => [key, Math.max]),
  ),
  ...Object.fromEntries(
    ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'].map((key) => [key, Math.min]),
  ),
}

/** Both schemas at once, as one. */
function conjunction(a: JsonObject, b: JsonObject): JsonObject {
  const both: Record<string, unknown> = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const other = both[key]
    if (other === undefined || notes.has(key) || same(other, value)) both[key] = value
    else if (key in tightest) both[key] = tightest[key]!(other as number, value as number)
    else if (key === 'required') both[key] = [...new Set([...(other as string[]), ...(value as string[])])]
    else if (key === 'properties') {
      const [mine, theirs] = [other as JsonObject, value as JsonObject]
      both[key] = Object.fromEntries(
        [...new Set([...Object.keys(mine), ...Object.keys(theirs)])].map((name) => [
          name,
          mine[name] !== undefined && theirs[name] !== undefined
            ? { allOf: [mine[name], theirs[name]] }
            : (mine[name] ?? theirs[name]),
        ]),
      )
    } else if (key === 'enum')
      both[key] = (other as unknown[]).filter((one) => (value as unknown[]).some((x) => same(one, x)))
    else if (key === 'type') both[key] = commonTypes(other, value)
    else if (key === 'items' || key === 'additionalProperties' || key === 'propertyNames')
      both[key] = { allOf: [other, value] }
    else if (key === 'anyOf' || key === 'oneOf') both[key] = product(other as unknown[], value as unknown[])
    else both[key] = [other, value] // two patterns, say: alike only where both sides have both
  }
  // a choice on each side under different words
  if (Array.isArray(both.anyOf) && Array.isArray(both.oneOf)) {
    both.anyOf = product(both.anyOf, both.oneOf)
    delete both.oneOf
  }
  return both
}

const product = (a: readonly unknown[], b: readonly unknown[]) =>
  a.flatMap((one) => b.map((other) => ({ allOf: [one, other] })))

function commonTypes(a: unknown, b: unknown): unknown[] {
  const [left, right] = [a, b].map((type) => (Array.isArray(type) ? type : [type])) as [unknown[], unknown[]]
  return [
    ...left.filter((type) => right.includes(type) || (type === 'integer' && right.includes('number'))),
    ...(left.includes('number') && !left.includes('integer') ? right.filter((type) => type === 'integer') : []),
  ]
}

/** Whether a value is of a type of JSON Schema. */
export function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null
    case 'array':
      return Array.isArray(value)
    case 'object':
      return isObject(value)
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value)
    default:
      return typeof value === type
  }
}

/** Whether two pieces of JSON say the same; the order of keys is no matter, nor are notes for people. */
export const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b)

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (!isObject(value)) return JSON.stringify(value) ?? 'nothing'
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join()}}`
}

/** Whether a pattern matches; one that JavaScript cannot read matches nothing. */
export function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text)
  } catch {
    return false
  }
}
