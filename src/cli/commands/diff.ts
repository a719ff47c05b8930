// myelin diff, apply: what a composition says, and what is.
import type { Command } from 'commander'
import { MyelinError } from '../../bus/index.ts'
import { type CommandOutcome, command, DesiredStates } from '../../control/index.ts'
import { type Fleet, fleet } from '../../heartbeat/index.ts'
import { type Composition, loadComposition } from '../../runtime/index.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { print, printJson, table } from '../text.ts'

interface Difference {
  readonly site: string
  readonly unit: string
  readonly what: 'replicas' | 'state' | 'config'
  readonly wanted: string
  readonly found: string
}

export function addDiff(program: Command): void {
  withConnection(program.command('diff'))
    .description('compare a composition with what runs; exit code 1 when they differ')
    .argument('[path]', 'composition file or folder', '.')
    .action(async (path: string, flags: ConnectionFlags) => {
      const { composition } = await loadComposition(path)
      const found = await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        return differences(composition, watching, await DesiredStates.open(bus))
      })
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
    .action(async (path: string, flags: ConnectionFlags & { by: string }) => {
      const { composition } = await loadComposition(path)
      const done = await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        const states = await DesiredStates.open(bus)
        const outcomes: { unit: string; site: string; what: string; ok: boolean; error?: string }[] = []
        for (const { unit, site, what } of await differences(composition, watching, states)) {
          const { replicas, config } = composition.units[unit]!
          const base = { selector: { unit, ...(site === '' ? {} : { site }) }, by: flags.by }
          // one unit that cannot be changed is no reason to leave the others
          const error = await command(
            bus,
            watching,
            what === 'replicas'
              ? { ...base, verb: 'scale', args: { replicas } }
              : what === 'state'
                ? { ...base, verb: 'resume' }
                : { ...base, verb: 'configure', args: { config } },
          ).then(whyNot, (reason: unknown) => {
            if (!(reason instanceof MyelinError)) throw reason
            return `${reason.code}: ${reason.message}`
          })
          outcomes.push({ unit, site, what, ok: error === undefined, ...(error === undefined ? {} : { error }) })
        }
        return outcomes
      })
      if (flags.json) printJson(done)
      else if (done.length === 0) print('nothing to do')
      else
        print(
          table(
            ['UNIT', 'SITE', 'WHAT', 'RESULT'],
            done.map((d) => [d.unit, d.site, d.what, d.error ?? 'ok']),
          ),
        )
      if (done.some(({ ok }) => !ok)) process.exitCode = 1
    })
}

/** What went wrong with a command, if anything. */
function whyNot({ acks, missing }: CommandOutcome): string | undefined {
  const refused = acks.filter(({ ok }) => !ok).map(({ instance, error }) => `${instance}: ${error?.message}`)
  const told = [...refused, ...missing.map(({ instance }) => `${instance} did not answer`)]
  return told.length > 0 ? told.join('; ') : undefined
}

async function differences(composition: Composition, watching: Fleet, states: DesiredStates): Promise<Difference[]> {
  const found: Difference[] = []
  const desired = await states.all()
  for (const [unit, spec] of Object.entries(composition.units)) {
    const everywhere = watching.list({ unit }).filter(({ status }) => status === 'alive' || status === 'suspect')
    const told = desired.filter((entry) => entry.unit === unit)
    // each site runs as many as the composition says
    const emptied = told.filter((entry) => entry.desired.replicas === 0)
    const sites = new Set([...everywhere.map(({ beat }) => beat.site), ...emptied.map(({ site }) => site)])
    if (sites.size === 0) sites.add(spec.site ?? '')
    for (const site of sites) {
      const present = everywhere.filter(({ beat }) => beat.site === site)
      const add = (what: Difference['what'], wanted: string, is: string) => {
        if (wanted !== is) found.push({ site, unit, what, wanted, found: is })
      }
      add('replicas', String(spec.replicas), String(present.length))
      const resting = present
        .filter(({ beat }) => beat.state === 'paused' || beat.state === 'stopped')
        .map(({ beat }) => beat.state)
      if (resting.length > 0) add('state', 'running', [...new Set(resting)].join(', '))
      const override = told.find((entry) => entry.site === site)?.desired.config
      if (override) add('config', JSON.stringify(spec.config), JSON.stringify({ ...spec.config, ...override }))
    }
  }
  return found
}
