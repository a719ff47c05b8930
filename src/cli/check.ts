// Whether what was typed is what the service said it takes, before it is published: an event or a job has no answer that
// could say so.
import { Ajv, type ErrorObject } from 'ajv'
import formats from 'ajv-formats'
import { failure } from '../bus/internal.ts'
import { jsonSchemaOf, type Schema } from '../contract/internal.ts'

/**
 * Checks a payload against a discovered schema; one that the service does not tell, or that is no JSON Schema, checks nothing.
 * @throws MyelinError INVALID_INPUT with every field that is wrong
 */
export function checkPayload(schema: Schema, value: unknown, what: string): void {
  const jsonSchema = jsonSchemaOf(schema)
  if (!jsonSchema) return
  const ajv = new Ajv({ strict: false, allErrors: true })
  formats.default(ajv)
  let fits: ReturnType<typeof ajv.compile>
  try {
    fits = ajv.compile(jsonSchema)
  } catch {
    return
  }
  if (fits(value)) return
  const wrong = (fits.errors ?? []).map((error) => `${fieldOf(error)}${error.message}`)
  throw failure('INVALID_INPUT', `${what}: ${wrong.join('; ')}. --no-check sends it all the same`)
}

const fieldOf = ({ instancePath }: ErrorObject) =>
  instancePath === '' ? '' : `${instancePath.slice(1).replaceAll('/', '.')}: `
