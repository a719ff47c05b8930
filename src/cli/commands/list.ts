// myelin list: the units of a composition and what they can be configured with, from their own schemas.
import type { Command } from 'commander'
import { failure } from '../../bus/index.ts'
import { jsonSchemaOf } from '../../contract/index.ts'
import { builtInUnit, builtInUnits, loadComposition, loadUnitOf, nearest } from '../../runtime/index.ts'
import type { Unit } from '../../unit/index.ts'
import { type JsonSchema, reference } from '../reference.ts'
import { print, printJson, table } from '../text.ts'

interface Flags {
  path: string
  json?: boolean
}

interface Found {
  readonly unit: string
  readonly kind: string
  readonly version: string | undefined
  readonly description: string | undefined
  readonly config: JsonSchema | undefined
  readonly given: Readonly<Record<string, unknown>>
}

export function addList(program: Command): void {
  program
    .command('list')
    .description(
      'the units of a composition; of one, or of a unit that needs no module, the reference of its configuration',
    )
    .argument('[unit]', `one of the composition, or ${builtInUnits.join(', ')}`)
    .option('-p, --path <path>', 'composition file or folder', '.')
    .option('--json', 'output for programs; configurations as JSON Schema')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin list -p examples/airline\n  myelin list feed -p examples/airline\n  myelin list processor',
    )
    .action(async (name: string | undefined, flags: Flags) => {
      const found = name === undefined ? await all(flags.path) : [await one(name, flags.path)]
      if (flags.json) return printJson(name === undefined ? found : found[0])
      if (name !== undefined) return print(referenceOf(found[0]!))
      print(
        table(
          ['UNIT', 'KIND', 'VERSION', 'WHAT'],
          found.map((u) => [u.unit, u.kind, u.version ?? '-', u.description ?? '']),
        ),
      )
    })
}

async function all(path: string): Promise<Found[]> {
  const loaded = await loadComposition(path)
  const { units } = loaded.composition
  return Promise.all(
    Object.keys(units).map(async (unit) => foundOf(unit, await loadUnitOf(loaded, unit), units[unit]!.config)),
  )
}

/** A unit of the composition; else one that needs no module, which needs no composition either. */
async function one(name: string, path: string): Promise<Found> {
  const builtIn = builtInUnits.find((use) => use === name || use === `myelin:${name}`)
  const loaded = await loadComposition(path).catch((error) => {
    if (!builtIn) throw error
  })
  const spec = loaded?.composition.units[name]
  if (loaded && spec) return foundOf(name, await loadUnitOf(loaded, name), spec.config)
  if (builtIn) return foundOf(builtIn, await builtInUnit(builtIn, 'unit'), {})
  const names = Object.keys(loaded!.composition.units)
  const near = nearest(name, [...names, ...builtInUnits])
  throw failure(
    'NO_MATCH',
    `the composition has no unit "${name}"${near ? `; did you mean "${near}"?` : `; units: ${names.join(', ')}`}`,
  )
}

function foundOf(unit: string, { kind, version, description, config }: Unit, given: Found['given']): Found {
  return { unit, kind, version, description, config: config && jsonSchemaOf(config), given }
}

function referenceOf({ unit, kind, description, config, given }: Found): string {
  const rows = reference(config ?? {}, given)
  const head = `${unit} (${kind})${description ? `: ${description}` : ''}`
  if (rows.length === 0) return `${head}\nIt takes no configuration.`
  return `${head}\n\n${table(['KEY', 'TYPE', 'DEFAULT', 'HERE', 'WHAT'], rows)}`
}
