// Composition files and unit modules from disk.
import { access, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parse as parseYaml } from 'yaml'
import { failure, MyelinError, messageOf } from '../bus/index.ts'
import { isUnit, type Unit } from '../unit/index.ts'
import { builtInUnit, isBuiltIn } from './built-in.ts'
import { type Composition, parseComposition } from './composition.ts'

/** Where a composition is looked for when no file is named, in this order. */
export const compositionFiles = ['myelin.config.ts', 'myelin.config.js', 'myelin.yaml', 'myelin.yml'] as const

/** A composition and the folder that its paths are relative to. */
export interface LoadedComposition {
  readonly composition: Composition
  readonly file: string
  readonly folder: string
}

/**
 * Loads `myelin.config.ts` (default export) or `myelin.yaml`; of a folder, the one it holds.
 * @throws MyelinError FILE_NOT_FOUND, INVALID_COMPOSITION
 */
export async function loadComposition(
  path = '.',
  options: { /** not what an earlier import of the file gave */ fresh?: boolean } = {},
): Promise<LoadedComposition> {
  const file = await findFile(resolve(path))
  const shown = relative('.', file) || file
  const value = /\.ya?ml$/.test(file)
    ? await readYaml(file, shown)
    : await importDefault(file, shown, 'INVALID_COMPOSITION', options.fresh)
  return { composition: parseComposition(value, shown), file, folder: dirname(file) }
}

async function findFile(path: string): Promise<string> {
  if (/\.[a-z]+$/.test(path)) {
    await access(path).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `composition file ${relative('.', path)} cannot be read`, { cause })
    })
    return path
  }
  for (const name of compositionFiles) {
    const file = resolve(path, name)
    const found = await access(file).then(
      () => true,
      () => false,
    )
    if (found) return file
  }
  throw failure(
    'FILE_NOT_FOUND',
    `no composition in ${relative('.', path) || 'this folder'}: expected ${compositionFiles.join(', ')}`,
  )
}

async function readYaml(file: string, shown: string): Promise<unknown> {
  try {
    return parseYaml(await readFile(file, 'utf8'))
  } catch (cause) {
    throw failure('INVALID_COMPOSITION', `${shown}: ${messageOf(cause)}`, { cause })
  }
}

/** The same with every unit that has a module of its own in a process of its own: a restart then loads its code anew. */
export function inOwnProcesses(loaded: LoadedComposition): LoadedComposition {
  const units = Object.fromEntries(
    Object.entries(loaded.composition.units).map(([name, spec]) => [
      name,
      typeof spec.use === 'string' && !isBuiltIn(spec.use) ? { ...spec, isolation: 'process' as const } : spec,
    ]),
  )
  return { ...loaded, composition: { ...loaded.composition, units } }
}

/** Loads the unit that a composition names. @throws MyelinError FILE_NOT_FOUND, INVALID_COMPOSITION */
export async function loadUnit(use: string | Unit, folder: string, where: string): Promise<Unit> {
  if (typeof use !== 'string') return use
  if (isBuiltIn(use)) return builtInUnit(use, where)
  const file = isAbsolute(use) ? use : resolve(folder, use)
  await access(file).catch((cause) => {
    throw failure('FILE_NOT_FOUND', `${where}: ${use} cannot be read (looked at ${relative('.', file)})`, { cause })
  })
  const unit = await importDefault(file, where, 'INVALID_COMPOSITION')
  if (!isUnit(unit)) {
    throw failure(
      'INVALID_COMPOSITION',
      `${where}: the default export of ${use} is not a unit; export what service(), processor() or defineUnit() gives`,
    )
  }
  return unit
}

/** The unit of a name in a composition. @throws MyelinError FILE_NOT_FOUND, INVALID_COMPOSITION */
export function loadUnitOf({ composition, folder }: LoadedComposition, name: string): Promise<Unit> {
  return loadUnit(composition.units[name]!.use, folder, `units.${name}.use`)
}

async function importDefault(
  file: string,
  where: string,
  code: 'INVALID_COMPOSITION',
  fresh = false,
): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(file).href + (fresh ? `?v=${Date.now()}` : ''))) as { default?: unknown })
      .default
  } catch (cause) {
    if (cause instanceof MyelinError) throw cause
    throw failure(code, `${where}: ${messageOf(cause)}`, { cause })
  }
}
