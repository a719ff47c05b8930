// Units that need no module: `use: myelin:processor` and the like. What they do is said by their configuration alone.
import { failure, nearest } from '../bus/index.ts'
import { controller } from '../control/index.ts'
import type { Unit } from '../unit/index.ts'

const prefix = 'myelin:'

// the patterns are loaded when somebody uses them
const units: Readonly<Record<string, () => Promise<unknown>>> = {
  controller: async () => controller(),
  processor: async () => (await import('../stream/index.ts')).declaredProcessor,
  sse: async () => (await import('../sse/index.ts')).declaredGateway,
}

/** As `use` names them. */
export const builtInUnits: readonly string[] = Object.keys(units).map((kind) => prefix + kind)

export const isBuiltIn = (use: string): boolean => use.startsWith(prefix)

/** @throws MyelinError INVALID_COMPOSITION when there is no such unit */
export async function builtInUnit(use: string, where: string): Promise<Unit> {
  const load = units[use.slice(prefix.length)]
  if (load) return (await load()) as Unit
  const near = nearest(use, builtInUnits)
  throw failure(
    'INVALID_COMPOSITION',
    `${where}: there is no "${use}"${near ? `; did you mean "${near}"?` : `; there are: ${builtInUnits.join(', ')}`}`,
  )
}
