// myelin diff, apply: what a composition says, and what is.
import type { Command } from 'commander'
import { MyelinError } from '../../bus/internal.ts'
import { type CommandOutcome, type CommandRequest, command, DesiredStates } from '../../control/index.ts'
import { fleet } from '../../heartbeat/index.ts'
import { loadComposition, type UnitSpec } from '../../runtime/index.ts'
import { type ConnectionFlags, onBus, reportFailure, withConnection } from '../connection.ts'
import { type Difference, differences } from '../differences.ts'
import { print, printJson, table } from '../text.ts'

export function addDiff(program: Command): void {
  withConnection(program.command('diff'))
    .description('compare a composition with what runs; exit code 0 when they agree, 1 when they differ, 2 on failure')
    .argument('[path]', 'composition file or folder', '.')
    .addHelpText(
      'after',
      `
Compared are units, copies, state, configuration (before defaults), module and isolation of what beats.

Example:
  myelin diff || myelin apply`,
    )
    .action(async (path: string, flags: ConnectionFlags) => {
      let found: Difference[]
      try {
        const loaded = await loadComposition(path)
        found = await onBus(flags, async (bus) => {
          await using watching = await fleet(bus)
          return differences(loaded, watching, await DesiredStates.open(bus))
        })
      } catch (error) {
        // as diff(1): 1 says that something differs
        reportFailure(error, flags.json ?? false)
        process.exitCode = 2
        return
      }
      if (flags.json) printJson(found)
      else if (found.length === 0) print('what runs is what the composition says')
      else
        print(
          table(
            ['UNIT', 'SITE', 'WHAT', 'COMPOSITION', 'FOUND'],
            found.map((d) => [d.unit, d.site, d.what, d.wanted, d.found]),
          ),
        )
      if (found.length > 0) process.exitCode = 1
    })

  withConnection(program.command('apply'))
    .description('make what runs as the composition says: copies, state and configuration of every unit')
    .argument('[path]', 'composition file or folder', '.')
    .option('--by <name>', 'who, for the record', process.env.USER ?? 'unknown')
    .option('--prune', 'stop units that run and are not in the composition')
    .action(async (path: string, flags: ConnectionFlags & { by: string; prune?: boolean }) => {
      const loaded = await loadComposition(path)
      const done = await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        const states = await DesiredStates.open(bus)
        const outcomes: { unit: string; site: string; what: string; ok: boolean; result: string }[] = []
        for (const difference of await differences(loaded, watching, states)) {
          const { unit, site, what } = difference
          const change = changeFor(difference, loaded.composition.units[unit], flags.prune ?? false)
          if (typeof change === 'string') {
            outcomes.push({ unit, site, what, ok: what === 'unit', result: change })
            continue
          }
          const selector = { unit, ...(site === '' ? {} : { site }) }
          // one unit that cannot be changed is no reason to leave the others
          const error = await command(bus, watching, { ...change, selector, by: flags.by }).then(
            whyNot,
            (reason: unknown) => {
              if (!(reason instanceof MyelinError)) throw reason
              return `${reason.code}: ${reason.message}`
            },
          )
          outcomes.push({ unit, site, what, ok: error === undefined, result: error ?? 'ok' })
        }
        return outcomes
      })
      if (flags.json) printJson(done)
      else if (done.length === 0) print('nothing to do')
      else
        print(
          table(
            ['UNIT', 'SITE', 'WHAT', 'RESULT'],
            done.map((d) => [d.unit, d.site, d.what, d.result]),
          ),
        )
      if (done.some(({ ok }) => !ok)) process.exitCode = 1
    })
}

/** The command that makes a unit what its composition says, or why there is none. */
function changeFor(
  { what, overridden }: Difference,
  spec: UnitSpec | undefined,
  prune: boolean,
): Pick<CommandRequest, 'verb' | 'args'> | string {
  switch (what) {
    case 'unit':
      return prune ? { verb: 'stop' } : `left running: it is not in the composition; --prune stops it`
    case 'replicas':
      return { verb: 'scale', args: { replicas: spec!.replicas } }
    case 'state':
      return { verb: 'resume' }
    case 'config':
      // its runner has what the composition says; else it gets all of it, also what is not there any more
      if (overridden) return { verb: 'configure', args: { config: {}, exact: false } }
      return { verb: 'configure', args: { config: spec!.config, exact: true } }
    case 'module':
    case 'isolation':
      return `start its runner again to change this: myelin up`
  }
}

/** What went wrong with a command, if anything. */
function whyNot({ acks, missing }: CommandOutcome): string | undefined {
  const refused = acks.filter(({ ok }) => !ok).map(({ instance, error }) => `${instance}: ${error?.message}`)
  const problems = [...refused, ...missing.map(({ instance }) => `${instance} did not answer`)]
  return problems.length > 0 ? problems.join('; ') : undefined
}
