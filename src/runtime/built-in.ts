// Units that need no module: `use: myelin:processor` and the like. What they do is said by their configuration alone.
import { failure, nearest } from '../bus/internal.ts'
import type { Unit, UnitKind } from '../unit/internal.ts'

const prefix = 'myelin:'

// the patterns are loaded when somebody uses them
const kinds: Readonly<Record<string, () => Promise<UnitKind>>> = {
  controller: async () => (await import('../control/index.ts')).controllerKind,
  processor: async () => (await import('../stream/index.ts')).processorKind,
  sse: async () => (await import('../sse/index.ts')).gatewayKind,
}

/** As `use` names them. */
export const builtInUnits: readonly string[] = Object.keys(kinds).map((kind) => prefix + kind)

export const isBuiltIn = (use: string): boolean => use.startsWith(prefix)

/**
 * The spec of a kind of unit that needs no module.
 * @throws MyelinError INVALID_COMPOSITION when there is no such kind
 * @example const { summary, guarantee } = await unitKind('myelin:processor', 'use')
 */
export async function unitKind(use: string, where: string): Promise<UnitKind> {
  const load = Object.hasOwn(kinds, use.slice(prefix.length)) ? kinds[use.slice(prefix.length)] : undefined
  if (load) return load()
  const near = nearest(use, builtInUnits)
  throw failure(
    'INVALID_COMPOSITION',
    `${where}: there is no "${use}"${near ? `; did you mean "${near}"?` : `; there are: ${builtInUnits.join(', ')}`}`,
  )
}

/** @throws MyelinError INVALID_COMPOSITION when there is no such unit */
export async function builtInUnit(use: string, where: string): Promise<Unit> {
  return (await unitKind(use, where)).unit
}
