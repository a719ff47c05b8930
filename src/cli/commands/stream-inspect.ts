// myelin stream inspect: the steps of a processor, and how each of its partitions is doing.
import type { Command } from 'commander'
import type { Bus } from '../../bus/internal.ts'
import { type Inspection, inspectProcessor, type PartitionStatus } from '../../stream/index.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { nobodyAnswers } from '../processors.ts'
import { ago, instant, print, printJson, size, table } from '../text.ts'

const everyMs = 1_000

export function addStreamInspect(stream: Command): void {
  withConnection(stream.command('inspect'))
    .description('the steps of a processor, and watermark, lag, state and checkpoint of each of its partitions')
    .argument('<processor>', 'its own name, which is also its view’s as a rule')
    .option('-w, --watch', 'again every second, until Ctrl-C')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin stream inspect delays\n  myelin stream inspect delays --watch\n  myelin stream inspect delays --json | jq .[].partitions[].lag',
    )
    .action(async (processor: string, flags: ConnectionFlags & { watch?: boolean }) => {
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        if (!flags.watch) return show(await ask(bus, processor), flags.json)
        for (let shown = false; !signal.aborted; shown = true) {
          // one that is being restarted comes back; one that was never there does not
          const found = shown ? await inspectProcessor(bus, processor) : await ask(bus, processor)
          if (!flags.json && process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[2J')
          if (found.length === 0 && !flags.json) print(`no instance of processor "${processor}" answers`)
          else show(found, flags.json)
          const waited = new Promise((resolve) => setTimeout(resolve, everyMs))
          await Promise.race([waited, aborted(signal)])
        }
      })
    })
}

async function ask(bus: Bus, processor: string): Promise<Inspection[]> {
  const found = await inspectProcessor(bus, processor)
  if (found.length === 0) throw await nobodyAnswers(bus, processor)
  return found
}

function show(found: readonly Inspection[], json: boolean | undefined): void {
  if (json) return printJson(found)
  print(`${topology(found)}\n\n${partitionTable(found)}`)
}

/** What is read, what is done with it, where it goes: a line each. */
function topology(found: readonly Inspection[]): string {
  const { reads = [], input, views = [] } = found[0] ?? {}
  const steps = found.flatMap(({ partitions }) => partitions)[0]?.steps ?? []
  const through = reads.some(({ stream }) => stream !== input) ? [`through ${input}`] : []
  return [
    ...reads.map(({ stream, subject }) => `reads ${subject} of ${stream}`),
    ...through,
    ...steps.map((step) => `  → ${step}`),
    ...(views.length > 0 ? [`writes ${views.map((view) => `view.${view}`).join(', ')}`] : []),
  ].join('\n')
}

const head = [
  'PARTITION',
  'INSTANCE',
  'WATERMARK',
  'LAG',
  'IN',
  'OUT',
  'LATE',
  'REJECTED',
  'OPEN',
  'KEYS',
  'CHECKPOINT',
  'AGE',
  'RESTORE',
  'ENDED',
]

function partitionTable(found: readonly Inspection[]): string {
  const rows = found.flatMap(({ instance, partitions }) =>
    partitions.map((partition) => ({ number: partition.partition, cells: partitionRow(instance, partition) })),
  )
  const idle = found.filter(({ partitions }) => partitions.length === 0)
  return table(head, [
    ...rows.sort((a, b) => a.number - b.number).map(({ cells }) => cells),
    ...idle.map(({ instance }) => ['-', instance, 'stands by']),
  ])
}

function partitionRow(instance: string, status: PartitionStatus): (string | number)[] {
  return [
    status.partition,
    instance,
    instant(status.watermarkMs),
    status.lag,
    status.in,
    status.out,
    status.late,
    status.rejected,
    status.open,
    status.keys,
    size(status.checkpointBytes),
    ago(status.checkpointAgeMs),
    `${status.restoreMs} ms`,
    status.ended ? 'yes' : 'no',
  ]
}
