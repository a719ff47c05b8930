// Parsing with a contract's schema, and the message for what does not fit.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { boundedText, type ErrorCode, failure } from '../bus/internal.ts'
import type { Schema } from './definition.ts'

/** Parses a value; a promise only if the schema itself is asynchronous. @throws MyelinError of `code` */
export function parse(schema: Schema, value: unknown, code: ErrorCode, where: string): unknown {
  const result = schema['~standard'].validate(value)
  return result instanceof Promise ? result.then((done) => outcome(done, code, where)) : outcome(result, code, where)
}

function outcome(result: StandardSchemaV1.Result<unknown>, code: ErrorCode, where: string): unknown {
  if (!result.issues) return result.value
  const issues = result.issues.slice(0, 20).map(({ path, message }) => ({
    // both repeat what was sent: names of keys, even values
    path: boundedText((path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.'), 200),
    message: boundedText(message, 300),
  }))
  const texts = issues.slice(0, 3).map(({ path, message }) => (path ? `${path}: ${message}` : message))
  const more = result.issues.length > 3 ? ` (and ${result.issues.length - 3} more)` : ''
  throw failure(code, `${where}: ${texts.join('; ')}${more}`, { data: { issues } })
}
