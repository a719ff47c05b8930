// What an instance was made of, in short: its beats say it, and `myelin diff` compares it with a composition.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import type { Unit } from '../unit/internal.ts'
import { isBuiltIn } from './built-in.ts'

const hashed = (text: string | Buffer) => createHash('sha256').update(text).digest('hex').slice(0, 12)

/**
 * A configuration in 12 letters: of its keys as they were given, in any order, before the unit's schema adds defaults. A
 * secret is hashed as the reference that stands for it.
 */
export function configHash(config: unknown): string {
  return hashed(JSON.stringify(config, sorted) ?? '')
}

function sorted(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol') return String(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The file of a unit's module in 12 letters, as it is now, without what it imports; undefined when it has none. */
export async function moduleHash(use: string | Unit, folder: string): Promise<string | undefined> {
  if (typeof use !== 'string' || isBuiltIn(use)) return undefined
  const text = await readFile(isAbsolute(use) ? use : resolve(folder, use)).catch(() => undefined)
  return text && hashed(text)
}

/** How a composition names what a unit is. */
export const useName = (use: string | Unit): string => (typeof use === 'string' ? use : use.name)
