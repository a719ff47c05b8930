// myelin rollout, rollouts: a new configuration in batches, watched, and rolled back when it does worse.
import { hostname, userInfo } from 'node:os'
import type { Command } from 'commander'
import { failure, redact } from '../../bus/internal.ts'
import { type Rollout, Rollouts, stand } from '../../control/index.ts'
import { fleet } from '../../heartbeat/index.ts'
import { createLogger } from '../../unit/internal.ts'
import { readConfig } from '../config.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { milliseconds, print, printJson, table, UsageError } from '../text.ts'

interface Flags extends ConnectionFlags {
  config: string
  batch: string
  bake: string
  maxErrors: string
  maxLatency: string
  site?: string
  by: string
}

export function addRollout(program: Command): void {
  withConnection(program.command('rollout'))
    .description('give a unit a new configuration in batches; when the new ones are worse, everything goes back')
    .argument('<unit>')
    .requiredOption('--config <json or @file>', 'keys to replace; a path of a .yaml or .json file works as well')
    .option('--batch <share>', 'share of the instances in one batch, rounded down, at least one', '25%')
    .option('--bake <duration>', 'how long each batch is watched', '10s')
    .option('--max-errors <share>', 'the new ones may fail so much more often than the old ones', '2%')
    .option('--max-latency <times>', 'the new ones may take so many times as long as the old ones', '3')
    .option('--site <site>', 'only there')
    .option('--by <name>', 'who, for the record', `${userInfo().username}@${hostname()}`)
    .addHelpText(
      'after',
      `
It goes on without this command when a controller runs; Ctrl-C only stops watching it then.

Examples:
  myelin rollout delays --config slower.yaml --batch 25%
  myelin rollout feed --config '{"speed":60}' --bake 30s
  myelin rollouts abort 1a2b3c4d`,
    )
    .action(async (unit: string, flags: Flags) => {
      const config = await readConfig(flags.config)
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        const rollouts = await Rollouts.open(bus)
        // leads when nobody else does
        const controller = await stand(bus, `cli ${flags.by}`, createLogger({ unit: 'rollout' }))
        const over = Promise.withResolvers<Rollout | undefined>()
        let id: string | undefined
        let lastNote = ''
        const stop = await rollouts.watch((rollout) => {
          if (rollout.id !== id) return
          if (flags.json) printJson(redact(rollout))
          else if (lastNote !== rollout.note) print(`${progress(rollout)}  ${rollout.note}`)
          lastNote = rollout.note
          if (rollout.phase !== 'running' && rollout.phase !== 'paused') over.resolve(rollout)
        })
        void aborted(signal).then(over.resolve)
        try {
          const rollout = await rollouts.start(watching, {
            unit,
            config,
            batchPercent: percent(flags.batch, '--batch'),
            bakeMs: milliseconds(flags.bake),
            maxErrorShare: percent(flags.maxErrors, '--max-errors') / 100,
            maxLatencyRatio: times(flags.maxLatency, '--max-latency'),
            by: flags.by,
            ...(flags.site ? { site: flags.site } : {}),
          })
          id = rollout.id
          if (!flags.json) print(`rollout ${id} of ${rollout.total} instances`)
          const end = await over.promise
          if (end && end.phase !== 'done')
            throw failure('ROLLED_BACK', `rollout ${id} of unit '${unit}' ${end.phase}: ${end.note}`)
        } finally {
          stop()
          await controller.stop()
        }
      })
    })

  const many = program.command('rollouts').description('list rollouts, or steer one')
  withConnection(many.command('ls', { isDefault: true }))
    .description('list them, the latest last')
    .action(async (flags: ConnectionFlags) => {
      const found = await onBus(flags, async (bus) => (await Rollouts.open(bus)).list())
      if (flags.json) return printJson(redact(found))
      const rows = found.map((r) => [
        r.id,
        r.spec.unit,
        r.phase,
        `${r.updated.length} of ${r.total}`,
        r.spec.by,
        r.startedAt,
        r.note,
      ])
      print(table(['ID', 'UNIT', 'PHASE', 'NEW', 'BY', 'STARTED', 'NOTE'], rows))
    })
  for (const [verb, to, about] of [
    ['pause', 'paused', 'stop after the batch under way'],
    ['resume', 'running', 'go on'],
    ['abort', 'aborted', 'go back to the configuration before'],
  ] as const) {
    withConnection(many.command(verb))
      .description(about)
      .argument('<id>')
      .action(async (id: string, flags: ConnectionFlags) => {
        const rollout = await onBus(flags, async (bus) => (await Rollouts.open(bus)).steer(id, to))
        if (flags.json) printJson(redact(rollout))
        else print(`${verb} asked of rollout ${id}; the controller follows between two batches`)
      })
  }
}

function progress({ updated, total }: Rollout): string {
  const width = 20
  const filled = Math.round((updated.length / Math.max(1, total)) * width)
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${updated.length}/${total}`
}

function times(typed: string, option: string): number {
  const value = Number(typed)
  if (!(value >= 1) || typed === '') throw new UsageError(`${option}: expected a number from 1 on, got "${typed}"`)
  return value
}

function percent(typed: string, option: string): number {
  const value = Number(typed.replace(/%$/, ''))
  if (!(value >= 0 && value <= 100) || typed === '')
    throw new UsageError(`${option}: expected a share like 25%, got "${typed}"`)
  return value
}
