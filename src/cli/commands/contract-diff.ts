// myelin contract diff: two versions of contracts, or one and what runs.
import type { Command } from 'commander'
import { failure } from '../../bus/internal.ts'
import { type ContractDiff, type ContractShape, diffAll, diffContracts, shapeOf } from '../../contract/internal.ts'
import { contractOf, discover } from '../../service/index.ts'
import { type ConnectionFlags, onBus, reportFailure, withConnection } from '../connection.ts'
import { shapesOf } from '../contracts.ts'
import { print, printJson, table, UsageError } from '../text.ts'

interface Flags extends ConnectionFlags {
  running?: boolean
}

export function addContractDiff(contract: Command): void {
  withConnection(contract.command('diff'))
    .description(
      'what changed between two versions, and for whom it is breaking; exit code 0 compatible, 1 breaking, 2 on failure',
    )
    .argument(
      '<file...>',
      'the old one and the new one, modules or AsyncAPI documents; with --running the new one alone',
    )
    .option('--running', 'compare with the contracts of the services that run')
    .addHelpText(
      'after',
      `
Callers, handlers, stored events and queued jobs of the old version are looked at: what they send, read or hold.

Examples:
  myelin contract doc contracts/airports.ts -o airports.json   # when a version is released
  myelin contract diff airports.json contracts/airports.ts
  myelin contract diff contracts/airports.ts --running --json`,
    )
    .action(async (files: string[], flags: Flags) => {
      try {
        const found = flags.running ? await withRunning(files, flags) : await withFiles(files)
        if (flags.json) printJson({ compatible: found.every(({ compatible }) => compatible), contracts: found })
        else print(found.map(shown).join('\n\n'))
        if (found.some(({ compatible }) => !compatible)) process.exitCode = 1
      } catch (error) {
        // as diff(1): 1 says what was found, 2 that nothing could be
        reportFailure(error, flags.json ?? false)
        process.exitCode = 2
      }
    })
}

async function withFiles(files: readonly string[]): Promise<ContractDiff[]> {
  const [old, now, ...more] = files
  if (!old || !now || more.length > 0)
    throw new UsageError('name two files, the old one and the new one; or one and --running')
  return diffAll(await shapesOf(old), await shapesOf(now))
}

/** Each contract against every other version of it that runs. */
async function withRunning(files: readonly string[], flags: Flags): Promise<ContractDiff[]> {
  const [file, ...more] = files
  if (!file || more.length > 0) throw new UsageError('with --running, name one file: what runs is the old one')
  const contracts = await shapesOf(file)
  return onBus(flags, async (bus) => {
    const found = await Promise.all(
      contracts.map(async (now) => {
        const versions = new Map<string, ContractShape>()
        for (const service of await discover(bus, { service: now.name })) {
          const shape = shapeOf(contractOf(service))
          versions.set(JSON.stringify(shape), shape)
        }
        return [...versions.values()].map((old) => diffContracts(old, now))
      }),
    )
    const missing = contracts.filter((_, i) => found[i]!.length === 0).map(({ name }) => name)
    if (missing.length === contracts.length)
      throw failure('NO_RESPONDERS', `no instance of ${missing.join(', ')} answers: there is nothing to compare with`)
    for (const name of missing) process.stderr.write(`${name} does not run: it is not compared\n`)
    return found.flat()
  })
}

function shown({ contract, old, new: now, compatible, changes, raise }: ContractDiff): string {
  const title = `${contract} ${old ?? '(none)'} → ${now ?? '(none)'}`
  if (changes.length === 0) return `${title}: no difference`
  const head = `${title}: ${compatible ? 'compatible' : 'breaking'}${advice(old, now, raise)}`
  const rows = changes.map((change) => [
    change.effect,
    change.for.join(', '),
    `${change.kind} ${[change.name, change.path].filter(Boolean).join('.')}`,
    change.reason,
  ])
  return `${head}\n${table(['CHANGE', 'FOR', 'WHERE', 'WHAT'], rows)}`
}

/** What the version should be at least, where it is less. */
function advice(old: string | undefined, now: string | undefined, raise: ContractDiff['raise']): string {
  if (old === undefined || now === undefined || raise === 'none') return ''
  const [was, is] = [old, now].map((version) => version.split(/[.+-]/).map(Number)) as [number[], number[]]
  const [major = 0, minor = 0] = was
  const wanted = raise === 'major' && major > 0 ? [major + 1, 0] : [major, minor + 1]
  const enough = is[0]! > wanted[0]! || (is[0] === wanted[0] && is[1]! >= wanted[1]!)
  return enough ? '' : `; its version should be ${wanted.join('.')}.0 or higher`
}
