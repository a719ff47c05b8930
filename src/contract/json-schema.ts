// JSON Schema of a contract's schema, where its library offers it (Standard JSON Schema: zod 4.2+, valibot, arktype).
import type { Schema } from './definition.ts'

interface WithJsonSchema {
  readonly jsonSchema?: { input(options: { target: string }): Record<string, unknown> }
}

/** What travels on the wire as JSON Schema (draft-07), or undefined where the library cannot say. */
export function jsonSchemaOf(schema: Schema): Record<string, unknown> | undefined {
  const standard = schema['~standard'] as WithJsonSchema
  try {
    return standard.jsonSchema?.input({ target: 'draft-07' })
  } catch {
    return undefined // a schema that JSON Schema cannot express, such as a transform without an input type
  }
}
