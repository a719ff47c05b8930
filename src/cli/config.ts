// Configurations as typed: JSON, `@file`, or the path of a YAML or JSON file.
import { readFile } from 'node:fs/promises'
import { failure, messageOf } from '../bus/internal.ts'
import { readYaml } from '../runtime/index.ts'
import { UsageError } from './text.ts'

/** @throws MyelinError FILE_NOT_FOUND, INVALID_INPUT */
export async function readConfig(typed: string): Promise<Record<string, unknown>> {
  const file = typed.startsWith('@') ? typed.slice(1) : /\.(ya?ml|json)$/.test(typed) ? typed : undefined
  const text =
    file === undefined
      ? typed
      : await readFile(file, 'utf8').catch((cause) => {
          throw failure('FILE_NOT_FOUND', `${file} cannot be read`, { cause })
        })
  let value: unknown
  try {
    value = readYaml(text, file ?? '--config').value // JSON is YAML
  } catch (cause) {
    throw new UsageError(`--config: ${messageOf(cause)}`, cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`--config: expected keys and values, like '{"speed":60}'`)
  }
  return value as Record<string, unknown>
}
