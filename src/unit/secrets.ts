// Secrets by reference: a configuration says where a secret is, `{ secret: 'env:NAME' }` or `{ secret: 'file:PATH' }`, and
// it is read where the unit runs. Files, desired state, records and tables hold the reference; what it gave is hidden in
// everything that this process logs, tells or answers.
import { readFile } from 'node:fs/promises'
import { failure, hideSecret, isReference, messageOf } from '../bus/internal.ts'

const deepest = 100

/**
 * A copy of a configuration with its references replaced by what they refer to.
 * @throws MyelinError INVALID_CONFIG for a variable that is not set or a file that cannot be read
 */
export async function withSecrets(value: unknown, where: string, path = 'config', depth = 0): Promise<unknown> {
  if (typeof value !== 'object' || value === null || depth > deepest) return value
  if (isReference(value)) return read(value.secret, `${where}: ${path}`)
  if (Array.isArray(value)) {
    return Promise.all(value.map((one, i) => withSecrets(one, where, `${path}.${i}`, depth + 1)))
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  const entries = Object.entries(value).map(
    async ([key, one]) => [key, await withSecrets(one, where, `${path}.${key}`, depth + 1)] as const,
  )
  return Object.fromEntries(await Promise.all(entries))
}

async function read(reference: string, where: string): Promise<string> {
  const name = reference.slice(reference.indexOf(':') + 1)
  if (reference.startsWith('env:')) {
    const value = process.env[name]
    if (value === undefined || value === '') {
      throw failure('INVALID_CONFIG', `${where}: the environment variable ${name}, which holds the secret, is not set`)
    }
    hideSecret(value)
    return value
  }
  const text = await readFile(name, 'utf8').catch((cause) => {
    throw failure(
      'INVALID_CONFIG',
      `${where}: the file ${name}, which holds the secret, cannot be read: ${messageOf(cause)}`,
    )
  })
  const value = text.replace(/\r?\n$/, '') // editors end files with one
  if (value === '') throw failure('INVALID_CONFIG', `${where}: the file ${name}, which holds the secret, is empty`)
  hideSecret(value)
  return value
}
