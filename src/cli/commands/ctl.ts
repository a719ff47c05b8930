// myelin ctl, scale, audit: steering the fleet, and who did.

import { hostname, userInfo } from 'node:os'
import { type Command, Option } from 'commander'
import { failure } from '../../bus/internal.ts'
import {
  audit,
  type CommandArgs,
  type CommandOutcome,
  type CommandRequest,
  command,
  logLevels,
  verbs,
} from '../../control/index.ts'
import { fleet } from '../../heartbeat/index.ts'
import { nearest } from '../../runtime/index.ts'
import { readConfig } from '../config.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { milliseconds, print, printJson, selectorOf, table, UsageError } from '../text.ts'
import { refuseUnused } from '../unused.ts'

interface Flags extends ConnectionFlags {
  config?: string
  level?: (typeof logLevels)[number]
  percent?: string
  revision?: string
  timeout: string
  by: string
}

const offered = verbs.filter((verb) => verb !== 'check' && verb !== 'scale')
const me = () => `${userInfo().username}@${hostname()}`

const steering = (made: Command) =>
  withConnection(made)
    .option('-t, --timeout <duration>', 'how long instances may take', '20s')
    .option('--by <name>', 'who commands, for the record', me())

export function addCtl(program: Command): void {
  steering(program.command('ctl'))
    .description('command instances; each one answers with its state before and after')
    .argument('<verb>', offered.join(', '))
    .argument('<selector...>', 'key=value of site, unit, instance, kind, version, state, host; a word alone is a unit')
    .option('--config <json or @file>', 'keys to replace, for configure')
    .addOption(new Option('--level <level>', 'for loglevel').choices([...logLevels]))
    .option('--percent <share>', 'only so many percent of the instances that fit, rounded down, at least one')
    .option('--revision <revision>', 'only if the desired state still has this revision')
    .addHelpText(
      'after',
      `
Examples:
  myelin ctl pause unit=delays
  myelin ctl resume delays
  myelin ctl restart site=atl version=1.* --percent 20
  myelin ctl configure feed --config '{"speed":60}'
  myelin ctl loglevel delays --level debug
  myelin ctl reset feed                    # back to what its composition says`,
    )
    .action(async (verb: string, words: string[], flags: Flags, made: Command) => {
      if (!(offered as readonly string[]).includes(verb)) {
        const near = nearest(verb, offered)
        throw new UsageError(
          `unknown command "${verb}"${near ? `; did you mean "${near}"?` : `; there are: ${offered.join(', ')}`}`,
        )
      }
      if (verb === 'configure' && flags.config === undefined) throw new UsageError('configure needs --config')
      if (verb === 'loglevel' && flags.level === undefined) throw new UsageError('loglevel needs --level')
      if (verb !== 'configure') refuseUnused(made, ['config'], `with ${verb}: it is for configure`)
      if (verb !== 'loglevel') refuseUnused(made, ['level'], `with ${verb}: it is for loglevel`)
      const args: CommandArgs = {
        ...(flags.config === undefined ? {} : { config: await readConfig(flags.config) }),
        ...(flags.level === undefined ? {} : { level: flags.level }),
      }
      await give(flags, {
        verb: verb as CommandRequest['verb'],
        selector: selectorOf(words),
        args,
        by: flags.by,
        timeoutMs: milliseconds(flags.timeout),
        ...(flags.percent === undefined ? {} : { percent: number(flags.percent.replace(/%$/, ''), '--percent') }),
        ...(flags.revision === undefined ? {} : { expectedRevision: number(flags.revision, '--revision') }),
      })
    })

  steering(program.command('scale'))
    .description('run so many copies of a unit')
    .argument('<unit>')
    .argument('<copies>')
    .action(async (unit: string, copies: string, flags: Flags) => {
      if (!/^\d{1,4}$/.test(copies)) throw new UsageError(`copies: expected a whole number, got "${copies}"`)
      const args = { replicas: Number(copies) }
      await give(flags, {
        verb: 'scale',
        selector: selectorOf([unit]),
        args,
        by: flags.by,
        timeoutMs: milliseconds(flags.timeout),
      })
    })

  withConnection(program.command('audit'))
    .description('who commanded what, and what came of it')
    .option('-n, --limit <count>', 'the latest so many', '20')
    .option('--since <duration>', 'not older than this: 10m, 24h')
    .action(async (flags: ConnectionFlags & { limit: string; since?: string }) => {
      const limit = Number(flags.limit)
      if (!(limit >= 1)) throw new UsageError(`--limit: expected a number above 0, got "${flags.limit}"`)
      const entries = await onBus(flags, (bus) =>
        audit(bus, {
          limit,
          ...(flags.since === undefined ? {} : { sinceMs: Date.now() - milliseconds(flags.since) }),
        }),
      )
      if (flags.json) return printJson(entries)
      // a command that has its result need not be shown as issued as well
      const ended = new Set(
        entries.filter(({ outcome }) => outcome !== 'issued').map(({ id, verb }) => `${id} ${verb}`),
      )
      const shown = entries.filter(({ id, verb, outcome }) => outcome !== 'issued' || !ended.has(`${id} ${verb}`))
      const rows = shown.map((entry) => [
        entry.at,
        entry.by,
        entry.verb,
        Object.entries(entry.selector)
          .map(([key, value]) => `${key}=${value}`)
          .join(' '),
        entry.outcome,
        entry.note ?? `${entry.results.filter(({ ok }) => ok).length} of ${entry.results.length}`,
        entry.tookMs === undefined ? '' : `${entry.tookMs} ms`,
      ])
      print(table(['AT', 'BY', 'COMMAND', 'SELECTOR', 'OUTCOME', 'OBEYED', 'TOOK'], rows))
    })
}

/** @throws MyelinError INVALID_INPUT */
function number(typed: string, option: string): number {
  const value = Number(typed)
  if (typed === '' || !Number.isFinite(value)) throw new UsageError(`${option}: expected a number, got "${typed}"`)
  return value
}

/** Gives a command and shows what every instance answered. @throws MyelinError COMMAND_INCOMPLETE */
async function give(flags: ConnectionFlags, request: CommandRequest): Promise<void> {
  const outcome = await onBus(flags, async (bus) => {
    await using watching = await fleet(bus)
    return command(bus, watching, request)
  })
  if (flags.json) printJson(outcome)
  else print(outcomeTable(outcome))
  if (outcome.ok) return
  const failed = outcome.acks.filter(({ ok }) => !ok).length
  throw failure('COMMAND_INCOMPLETE', `${failed} refused or failed, ${outcome.missing.length} did not answer`)
}

function outcomeTable({ acks, missing, tookMs }: CommandOutcome): string {
  const rows = [
    ...acks.map((ack) => [
      ack.unit,
      ack.instance,
      ack.site,
      ack.from,
      ack.to,
      ack.revision,
      ack.ok ? 'ok' : `${ack.error?.code}: ${ack.error?.message}`,
    ]),
    ...missing.map(({ unit, instance, site }) => [unit, instance, site, '', '', '', 'no answer']),
  ]
  return `${table(['UNIT', 'INSTANCE', 'SITE', 'FROM', 'TO', 'REV', 'RESULT'], rows)}\n${acks.filter(({ ok }) => ok).length} of ${rows.length} in ${tookMs} ms`
}
