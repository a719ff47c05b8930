// Picking instances: `site=atl unit=delays version=1.*`, or as data.
import { failure } from '../bus/internal.ts'
import type { Beat } from './beat.ts'

const keys = ['site', 'unit', 'instance', 'kind', 'version', 'state', 'host', 'tag'] as const

/** All parts must fit; `*` stands for any text. */
export type Selector = { readonly [Key in (typeof keys)[number]]?: string }

export function matches(beat: Partial<Beat>, selector: Selector): boolean {
  for (const key of keys) {
    const wanted = selector[key]
    if (wanted === undefined) continue
    if (key === 'tag' ? !beat.tags?.some((tag) => fits(String(tag), wanted)) : !fits(String(beat[key] ?? ''), wanted))
      return false
  }
  return true
}

function fits(value: string, wanted: string): boolean {
  if (!wanted.includes('*')) return value === wanted
  const pattern = wanted.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${pattern.join('.*')}$`).test(value)
}

/**
 * Reads a selector as typed: `key=value` words; a word alone is a unit.
 * @throws MyelinError INVALID_INPUT
 */
export function parseSelector(words: readonly string[]): Selector {
  const selector: Record<string, string> = {}
  for (const word of words.flatMap((text) => text.trim().split(/\s+/)).filter(Boolean)) {
    const at = word.indexOf('=')
    const key = at < 0 ? 'unit' : word.slice(0, at)
    const value = at < 0 ? word : word.slice(at + 1)
    if (!(keys as readonly string[]).includes(key) || value === '') {
      throw failure('INVALID_INPUT', `selector "${word}": expected key=value with one of ${keys.join(', ')}`)
    }
    selector[key] = value
  }
  return selector
}
