// JSON Schema of a contract's schema, where its library offers it (Standard JSON Schema: zod 4.2+, arktype, and valibot
// with `toStandardJsonSchema()` of `@valibot/to-json-schema`).
import type { Schema } from './definition.ts'

type Json = Record<string, unknown>

interface WithJsonSchema {
  readonly jsonSchema?: { input(options: { target: string; libraryOptions?: Json }): Json }
}

/** What JSON Schema cannot express is left open there, instead of losing all that is around it. */
const leniently: Readonly<Record<string, Json>> = {
  zod: { unrepresentable: 'any', override: describeDates },
  valibot: { errorMode: 'ignore' },
  arktype: { fallback: (context: { base: unknown }) => context.base },
}

/**
 * What travels on the wire as JSON Schema (draft-07), or undefined where the library cannot say.
 * @example const schema = jsonSchemaOf(z.object({ code: z.string() }))
 */
export function jsonSchemaOf(schema: Schema): Json | undefined {
  const standard = schema['~standard'] as (typeof schema)['~standard'] & WithJsonSchema
  const libraryOptions = leniently[standard.vendor]
  for (const options of libraryOptions ? [{ libraryOptions }, {}] : [{}]) {
    try {
      const found = standard.jsonSchema?.input({ target: 'draft-07', ...options })
      if (found) return found
    } catch {
      // a schema that JSON Schema cannot express, and whose library cannot leave it open
    }
  }
  return undefined
}

/** A date is text on the wire; of zod's other types without JSON it is said which they are. */
function describeDates(context: { zodSchema: unknown; jsonSchema: Json }): void {
  const { type } = (context.zodSchema as { _zod: { def: { type: string } } })._zod.def
  const { jsonSchema } = context
  if (type === 'date') Object.assign(jsonSchema, { type: 'string', format: 'date-time' })
  else if (['bigint', 'map', 'set', 'symbol', 'custom', 'undefined', 'void', 'nan'].includes(type))
    jsonSchema.description ??= `a ${type}, which JSON has no form for`
}
