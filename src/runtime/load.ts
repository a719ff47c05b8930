// Composition files and unit modules from disk.
import { access, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { failure, MyelinError, messageOf } from '../bus/internal.ts'
import { isUnit, parseConfig, type Unit } from '../unit/internal.ts'
import { builtInUnit, isBuiltIn } from './built-in.ts'
import { type Composition, parseComposition } from './composition.ts'
import { placeOf } from './module-error.ts'
import { readYaml } from './yaml.ts'

/** Where a composition is looked for when no file is named, in this order. */
export const compositionFiles = ['myelin.config.ts', 'myelin.config.js', 'myelin.yaml', 'myelin.yml'] as const

/** A composition and the folder that its paths are relative to. */
export interface LoadedComposition {
  readonly composition: Composition
  readonly file: string
  readonly folder: string
  /** Where in the file a path leads to: `file:line:column`; only of what is read as text. */
  readonly at?: (path: readonly PropertyKey[]) => string
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
  if (/\.(ya?ml|json)$/.test(file)) {
    const { value, at } = readYaml(await readFile(file, 'utf8'), shown) // JSON is YAML
    return { composition: parseComposition(value, shown, at), file, folder: dirname(file), at }
  }
  const value = await importDefault(file, shown, 'INVALID_COMPOSITION', options.fresh)
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

/**
 * Whether everything that a composition names is there and fits: its modules, and the units' configurations. Nothing is
 * started. @throws MyelinError INVALID_COMPOSITION, naming all that is wrong
 */
export async function checkUnits(loaded: LoadedComposition, names: readonly string[]): Promise<void> {
  const wrong: string[] = []
  for (const name of names) {
    const spec = loaded.composition.units[name]!
    try {
      const unit = await loadUnitOf(loaded, name)
      await parseConfig(unit, spec.config, `unit '${name}'`, placesOf(loaded, name))
    } catch (error) {
      const place =
        error instanceof MyelinError && error.code === 'INVALID_CONFIG' ? '' : loaded.at?.(['units', name, 'use'])
      wrong.push(`${place ? `${place}: ` : ''}${messageOf(error)}`)
    }
  }
  if (wrong.length > 0) throw failure('INVALID_COMPOSITION', wrong.join('\n  '))
}

/** Where the keys of a unit's configuration are written. */
function placesOf({ at }: LoadedComposition, name: string): ((path: readonly PropertyKey[]) => string) | undefined {
  return at && ((path) => at(['units', name, 'config', ...path]))
}

/**
 * Why a unit did not start. Of a configuration that does not fit, with the place of each key that its file gives; what
 * flags or desired state gave has none.
 */
export async function throwPlaced(
  error: unknown,
  loaded: LoadedComposition,
  name: string,
  config: Readonly<Record<string, unknown>>,
): Promise<never> {
  const at = placesOf(loaded, name)
  if (at && error instanceof MyelinError && error.code === 'INVALID_CONFIG') {
    const written = loaded.composition.units[name]?.config ?? {}
    const fromFile = ([key = '']: readonly PropertyKey[]) => config[String(key)] === written[String(key)]
    const unit = await loadUnitOf(loaded, name)
    await parseConfig(unit, config, `unit '${name}'`, (path) => (fromFile(path) ? at(path) : undefined))
  }
  throw error
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
    throw failure(code, `${where}: ${await placeOf(cause, file)}: ${messageOf(cause)}`, { cause })
  }
}
