// A schema that brings definitions of its own (named and recursive ones) becomes several schemas of one document: in
// AsyncAPI a `$ref` begins at the document's root, not at the schema's.

type Json = Record<string, unknown>

/** Keywords whose members are named by users. */
const named = new Set(['properties', 'patternProperties', 'definitions', '$defs', 'dependentSchemas', 'dependencies'])
/** Keywords whose values are data. */
const data = new Set(['const', 'enum', 'default', 'examples'])

/** A name as the keys of AsyncAPI's components allow it. */
export const componentName = (name: string) => name.replace(/[^\w.-]/g, '_')

/**
 * The schemas to put into `components/schemas` for a JSON Schema that is called `id` there, itself first; every reference
 * within it leads to one of them.
 */
export function hoisted(schema: Json, id: string): [name: string, schema: Json][] {
  const { $schema: _, definitions, $defs, ...root } = schema
  const parts = { ...(definitions as Record<string, Json>), ...($defs as Record<string, Json>) }
  const names = new Map<string, string>()
  for (const name of Object.keys(parts)) {
    let own = componentName(`${id}.${name}`)
    while ([...names.values()].includes(own)) own = `${own}_`
    names.set(name, own)
  }
  const referred = (ref: string) => {
    if (!ref.startsWith('#')) return ref
    const [, part, ...rest] = ref.split('/')
    const within = (part === 'definitions' || part === '$defs') && rest[0] !== undefined
    const name = within ? decoded(rest[0]!) : undefined
    const target = name === undefined ? id : (names.get(name) ?? id)
    const deeper =
      name === undefined
        ? ref.slice(1)
        : rest
            .slice(1)
            .map((step) => `/${step}`)
            .join('')
    return `#/components/schemas/${target}${deeper}`
  }
  const rewritten = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(rewritten)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        if (key === '$ref' && typeof inner === 'string') return [key, referred(inner)]
        if (data.has(key)) return [key, inner]
        if (named.has(key) && typeof inner === 'object' && inner !== null && !Array.isArray(inner))
          return [key, Object.fromEntries(Object.entries(inner).map(([name, one]) => [name, rewritten(one)]))]
        return [key, rewritten(inner)]
      }),
    )
  }
  // an id of its own would be what references within begin at
  const anonymous = ({ $id: _id, id: _draft4, ...rest }: Json) => rewritten(rest) as Json
  return [
    [id, anonymous(root)],
    ...Object.entries(parts).map(([name, part]): [string, Json] => [names.get(name)!, anonymous(part)]),
  ]
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return step
  }
}
