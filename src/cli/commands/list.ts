// myelin list: the units of a composition and what they can be configured with, from their own schemas.
import type { Command } from 'commander'
import { failure, hasCode } from '../../bus/internal.ts'
import { jsonSchemaOf } from '../../contract/internal.ts'
import { builtInUnits, loadComposition, loadUnitOf, nearest, unitKind } from '../../runtime/index.ts'
import type { Unit } from '../../unit/internal.ts'
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

/** A kind of unit that needs no module. */
interface Kind extends Omit<Found, 'given' | 'version'> {
  readonly guarantee: string
  readonly example: string
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
      if (name !== undefined) {
        const found = await one(name, flags.path)
        return flags.json ? printJson(found) : print(referenceOf(found))
      }
      const [units, kinds] = await Promise.all([unitsOf(flags.path), Promise.all(builtInUnits.map(kindOf))])
      if (flags.json) return printJson({ units, kinds })
      if (units.length > 0) {
        const rows = units.map((u) => [u.unit, u.kind, u.version ?? '-', u.description ?? ''])
        print(`${table(['UNIT', 'KIND', 'VERSION', 'WHAT'], rows)}\n`)
      }
      print('Units that need no module (myelin list <use> tells how to configure one):\n')
      print(
        table(
          ['USE', 'WHAT'],
          kinds.map((kind) => [kind.unit, kind.description ?? '']),
        ),
      )
    })
}

/** None where there is no composition and none was named. */
async function unitsOf(path: string): Promise<Found[]> {
  const loaded = await loadComposition(path).catch((error) => {
    if (path === '.' && hasCode(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  })
  if (!loaded) return []
  const { units } = loaded.composition
  return Promise.all(
    Object.keys(units).map(async (unit) => foundOf(unit, await loadUnitOf(loaded, unit), units[unit]!.config)),
  )
}

/** A unit of the composition; else one that needs no module, which needs no composition either. */
async function one(name: string, path: string): Promise<Found | Kind> {
  const builtIn = builtInUnits.find((use) => use === name || use === `myelin:${name}`)
  const loaded = await loadComposition(path).catch((error) => {
    if (!builtIn) throw error
  })
  const spec = loaded?.composition.units[name]
  if (loaded && spec) return foundOf(name, await loadUnitOf(loaded, name), spec.config)
  if (builtIn) return kindOf(builtIn)
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

async function kindOf(use: string): Promise<Kind> {
  const { summary, guarantee, example, unit } = await unitKind(use, 'unit')
  const config = unit.config && jsonSchemaOf(unit.config)
  return { unit: use, kind: unit.kind, description: summary, guarantee, example, config }
}

function referenceOf(found: Found | Kind): string {
  const { unit, kind, description, config } = found
  const rows = reference(config ?? {}, 'given' in found ? found.given : {})
  const head = `${unit} (${kind})${description ? `: ${description}` : ''}`
  const more = 'guarantee' in found ? `\n${found.guarantee}\n\n${found.example}` : ''
  if (rows.length === 0) return `${head}${more}\n\nIt takes no configuration.`
  return `${head}${more}\n\n${table(['KEY', 'TYPE', 'DEFAULT', 'HERE', 'WHAT'], rows)}`
}
