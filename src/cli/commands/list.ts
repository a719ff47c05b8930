// myelin list: the units of a composition and what they can be configured with, from their own schemas.
import type { Command } from 'commander'
import { failure } from '../../bus/index.ts'
import { jsonSchemaOf } from '../../contract/index.ts'
import { loadComposition, loadUnitOf, nearest } from '../../runtime/index.ts'
import { print, printJson, table } from '../text.ts'

interface Flags {
  path: string
  json?: boolean
}

interface Property {
  readonly type?: string | readonly string[]
  readonly anyOf?: readonly Property[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
  readonly description?: string
}

export function addList(program: Command): void {
  program
    .command('list')
    .description('the units of a composition; of one, the reference of its configuration')
    .argument('[unit]')
    .option('-p, --path <path>', 'composition file or folder', '.')
    .option('--json', 'output for programs; configurations as JSON Schema')
    .addHelpText('after', '\nExamples:\n  myelin list -p examples/airline\n  myelin list feed -p examples/airline')
    .action(async (name: string | undefined, flags: Flags) => {
      const loaded = await loadComposition(flags.path)
      const names = Object.keys(loaded.composition.units)
      if (name !== undefined && !names.includes(name)) {
        const near = nearest(name, names)
        throw failure(
          'NO_MATCH',
          `the composition has no unit "${name}"${near ? `; did you mean "${near}"?` : `; units: ${names.join(', ')}`}`,
        )
      }
      const found = await Promise.all(
        names
          .filter((unit) => name === undefined || unit === name)
          .map(async (unit) => {
            const { kind, version, description, config } = await loadUnitOf(loaded, unit)
            const schema = config ? jsonSchemaOf(config) : undefined
            return { unit, kind, version, description, config: schema, given: loaded.composition.units[unit]!.config }
          }),
      )
      if (flags.json) return printJson(name === undefined ? found : found[0])
      if (name === undefined) {
        return print(
          table(
            ['UNIT', 'KIND', 'VERSION', 'WHAT'],
            found.map((u) => [u.unit, u.kind, u.version ?? '-', u.description ?? '']),
          ),
        )
      }
      const [unit] = found
      print(`${unit!.unit} (${unit!.kind})${unit!.description ? `: ${unit!.description}` : ''}`)
      const properties = Object.entries(
        (unit!.config as { properties?: Record<string, Property> } | undefined)?.properties ?? {},
      )
      if (properties.length === 0) return print('It takes no configuration.')
      const required = new Set((unit!.config as { required?: string[] }).required ?? [])
      const rows = properties.map(([key, property]) => [
        key,
        typeOf(property),
        property.default !== undefined ? JSON.stringify(property.default) : required.has(key) ? 'required' : '-',
        JSON.stringify(unit!.given[key]) ?? '',
        property.description ?? '',
      ])
      print(`\n${table(['KEY', 'TYPE', 'DEFAULT', 'HERE', 'WHAT'], rows)}`)
    })
}

function typeOf(property: Property): string {
  if (property.const !== undefined) return JSON.stringify(property.const)
  if (property.enum) return property.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (property.anyOf) return property.anyOf.map(typeOf).join(' | ')
  const range =
    property.minimum !== undefined && property.maximum !== undefined && property.maximum < Number.MAX_SAFE_INTEGER
      ? ` ${property.minimum}…${property.maximum}`
      : ''
  return `${String(property.type ?? 'any')}${range}`
}
