// myelin ls, describe: who is there, and how they are.
import type { Command } from 'commander'
import { belowWish, failure, redact } from '../../bus/internal.ts'
import { DesiredStates } from '../../control/index.ts'
import { fleet } from '../../heartbeat/index.ts'
import { nearest } from '../../runtime/index.ts'
import { discover, type FoundService } from '../../service/index.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { fleetTable, memberJson } from '../fleet-table.ts'
import { fewCopies, milliseconds, print, printJson, selectorOf, table, UsageError } from '../text.ts'
import { refuseUnused } from '../unused.ts'

export function addLs(program: Command): void {
  withConnection(program.command('ls'))
    .description('list running units; with --services, who answers the NATS service API')
    .argument('[selector...]', 'key=value of site, unit, instance, kind, version, state, host; a word alone is a unit')
    .option('--services', 'services and their endpoints, of any program that speaks the NATS service API')
    .option('--wait <duration>', 'how long services may take to answer', '300ms')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin ls\n  myelin ls site=atl unit=delays --json\n  myelin ls --services airports',
    )
    .action(async (words: string[], flags: ConnectionFlags & { services?: boolean; wait: string }, made: Command) => {
      if (flags.services) {
        const [service] = words
        if (words.length > 1 || service?.includes('='))
          throw new UsageError(`--services takes the name of one service or none, got "${words.join(' ')}"`)
        const found = await onBus(flags, (bus) =>
          discover(bus, { ...(service === undefined ? {} : { service }), waitMs: milliseconds(flags.wait) }),
        )
        if (flags.json) printJson(found)
        else print(found.length === 0 ? 'no service answers' : servicesTable(found))
        return
      }
      refuseUnused(made, ['wait'], 'without --services: beats are there already; add --services or leave it out')
      const selector = selectorOf(words)
      await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        const members = watching.list(selector)
        if (flags.json) printJson(members.map(memberJson))
        else if (members.length === 0) print('no unit beats here; `myelin ls --services` shows who answers')
        else print(fleetTable(members))
        const few = flags.json ? '' : fewCopies(await belowWish(bus))
        if (few !== '') process.stderr.write(`${few}\n`)
      })
    })

  withConnection(program.command('describe'))
    .description('everything known of a unit: instances, health, endpoints, desired state')
    .argument('<unit>')
    .action(async (unit: string, flags: ConnectionFlags) => {
      await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        const members = watching.list({ unit })
        if (members.length === 0) {
          const names = [...new Set(watching.list().map(({ beat }) => beat.unit))]
          const near = nearest(unit, names)
          throw failure(
            'NO_MATCH',
            `no unit "${unit}" beats${near ? `; did you mean "${near}"?` : `; units: ${names.join(', ') || 'none'}`}`,
          )
        }
        const services = (await discover(bus)).filter(({ metadata }) => metadata.unit === unit)
        const states = await DesiredStates.open(bus).catch(() => undefined)
        const desired = (await states?.all())?.filter((entry) => entry.unit === unit) ?? []
        if (flags.json)
          return printJson({ unit, desired: redact(desired), instances: members.map(memberJson), services })
        print(fleetTable(members))
        const checks = members.flatMap(({ beat }) =>
          beat.checks.map((check) => [beat.instance, check.name, check.kind, check.status, check.reason ?? '']),
        )
        if (checks.length > 0) print(`\n${table(['INSTANCE', 'CHECK', 'KIND', 'STATUS', 'REASON'], checks)}`)
        if (services.length > 0) print(`\n${servicesTable(services)}`)
        for (const { site, desired: wanted, revision } of desired) {
          const { by, at, ...rest } = wanted
          print(`\ndesired at ${site}, revision ${revision}, by ${by} ${at}\n  ${JSON.stringify(redact(rest))}`)
        }
      })
    })
}

function servicesTable(found: readonly FoundService[]): string {
  const rows = found.flatMap(({ name, id, version, endpoints }) =>
    (endpoints.length > 0 ? endpoints : [undefined]).map((endpoint) => [
      name,
      id,
      version,
      endpoint?.name ?? '-',
      endpoint?.requests ?? 0,
      endpoint?.errors ?? 0,
      endpoint && endpoint.requests > 0 ? `${endpoint.averageMs.toFixed(2)} ms` : '-',
    ]),
  )
  return table(['SERVICE', 'INSTANCE', 'VERSION', 'ENDPOINT', 'REQUESTS', 'ERRORS', 'MEAN'], rows)
}
