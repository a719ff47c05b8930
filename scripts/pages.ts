// The text of the generated pages under docs/.
import type { Command } from 'commander'
import { errorCatalogue } from 'myelin/bus'
import { jsonSchemaOf } from 'myelin/contract'
import { builtInUnits, unitKind } from 'myelin/runtime'
import { parse as parseYaml } from 'yaml'
import { commands } from '../src/cli/program.ts'
import { type JsonSchema, reference } from '../src/cli/reference.ts'
import { fleetMetrics, runnerMetrics } from '../src/heartbeat/metrics.ts'
import { parseConfig, type Stored, type UnitKind } from '../src/unit/internal.ts'

/** Pages by file name. */
export async function pages(): Promise<Record<string, string>> {
  return {
    'errors.md': errorsPage(),
    'reference/units.md': await unitsPage(),
    'reference/commands.md': commandsPage(),
    'reference/metrics.md': await metricsPage(),
  }
}

const from = (file: string) => `\n<!-- generated from ${file} by scripts/reference.ts -->\n`
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')

function errorsPage(): string {
  const rows = Object.entries(errorCatalogue).map(
    ([code, spec]) => `| \`${code}\` | ${spec.what} | ${spec.fix} | ${'retriable' in spec ? 'yes' : ''} |`,
  )
  return `# Errors

Every error is a \`MyelinError\` with a stable \`code\`, a message that names the thing it happened to, the cause, and typed \`data\` where a program can use it. \`npx myelin errors <code>\` explains one. *Retriable*: trying the same again may succeed. Services add codes of their own in their contracts.

| code | what happened | what to do | retriable |
|---|---|---|---|
${rows.join('\n')}
${from('src/bus/errors.ts')}`
}

async function unitsPage(): Promise<string> {
  const kinds = await Promise.all(builtInUnits.map((use) => unitKind(use, 'use')))
  const parts = await Promise.all(kinds.map(unitPart))
  return `# Units that need no module

A composition names one as its \`use\` and says in its configuration what it does; \`npx myelin list <use>\` prints the same. What each uses on the bus is that of its example.

${parts.join('\n')}${from('the specs of the kinds (kind.ts)')}`
}

async function unitPart(kind: UnitKind): Promise<string> {
  const { use, summary, guarantee, example, unit } = kind
  const schema = (unit.config && jsonSchemaOf(unit.config)) as JsonSchema | undefined
  const rows = reference(schema ?? {}, {}).map(
    ([key, type, byDefault, , what]) => `| \`${key}\` | ${cell(type!)} | ${cell(byDefault!)} | ${cell(what!)} |`,
  )
  const table =
    rows.length === 0
      ? 'It takes no configuration.'
      : `| key | type | default | |\n|---|---|---|---|\n${rows.join('\n')}`
  return `## \`${use}\`

${summary} ${guarantee}

\`\`\`yaml
units:
${example.replace(/^/gm, '  ')}
\`\`\`

${table}

${await accessOf(kind)}
`
}

async function accessOf(kind: UnitKind): Promise<string> {
  const [[unit, { config = {} }]] = Object.entries(parseYaml(kind.example) as Record<string, { config?: object }>) as [
    [string, { config?: object }],
  ]
  const parsed = kind.unit.config ? await parseConfig(kind.unit, config, unit) : config
  const { publishes, subscribes, owns, reads } = kind.access(parsed, { unit, site: 'local' })
  const list = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ') || '-'
  const stored = ({ streams, buckets, consumers }: Stored) => list([...streams, ...buckets, ...consumers])
  return `On the bus:

| publishes | subscribes | owns | reads |
|---|---|---|---|
| ${list(publishes)} | ${list(subscribes)} | ${stored(owns)} | ${stored(reads)} |`
}

function commandsPage(): string {
  const parts = leaves(commands(), []).map(([path, command]) => {
    let help = ''
    command.configureOutput({ writeOut: (text) => (help += text), getOutHelpWidth: () => 110 })
    command.outputHelp()
    return `## \`${path.join(' ')}\`\n\n\`\`\`console\n${help.trimEnd()}\n\`\`\`\n`
  })
  return `# Commands

What \`npx myelin <command> --help\` says.

${parts.join('\n')}${from('src/cli/commands')}`
}

/** The commands that do something, with all the words before them. */
function leaves(command: Command, before: readonly string[]): [path: string[], command: Command][] {
  const path = [...before, command.name()]
  const below = command.commands.flatMap((one) => leaves(one, path))
  return below.length > 0 && before.length < 2 && command.commands.length > 0 ? below : [[path, command]]
}

async function metricsPage(): Promise<string> {
  const vitals = {}
  const endpoint = { name: 'get', requests: 1, errors: 0, totalMs: 1, boundsMs: [1], counts: [1, 0] }
  const one = { site: 's', unit: 'u', instance: 'i', state: 'ready', vitals, checks: [], restarts: 0, healing: false }
  const host = await runnerMetrics([{ ...one, metrics: { endpoints: [endpoint] } } as never])
  const fleet = await fleetMetrics({ list: () => [] } as never)
  const found = new Map<string, { type: string; help: string; where: Set<string> }>()
  for (const [where, text] of [
    ['host', host],
    ['fleet', fleet],
  ] as const) {
    for (const [, name, help] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
      const type = new RegExp(`^# TYPE ${name} (\\S+)$`, 'm').exec(text)?.[1] ?? ''
      const known = found.get(name!) ?? { type, help: help!, where: new Set<string>() }
      known.where.add(where)
      found.set(name!, known)
    }
  }
  const rows = [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, { type, help, where }]) =>
        `| \`${name}\` | ${type} | ${help} | ${[...where].map((one) => `\`${one === 'host' ? '/metrics' : '/metrics/fleet'}\``).join(', ')} |`,
    )
  return `# Metrics

In Prometheus' text format, with the labels \`site\`, \`unit\` and \`instance\`, those of endpoints with \`endpoint\`, those of checks with \`check\`.

| metric | type | | where |
|---|---|---|---|
${rows.join('\n')}
${from('src/heartbeat/metrics.ts')}`
}
