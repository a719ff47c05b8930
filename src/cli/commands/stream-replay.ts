// myelin stream replay: a processor once more over its stored input, under another name; and removing what that left.
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { failure, parseTime } from '../../bus/internal.ts'
import { loadComposition, loadUnit, loadUnitOf, nearest } from '../../runtime/index.ts'
import { type ReplayProgress, removeReplay, replay, replayedStreams } from '../../stream/index.ts'
import type { Unit } from '../../unit/internal.ts'
import { type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { ago, instant, print, printJson, size, table, UsageError } from '../text.ts'
import { refuseUnused } from '../unused.ts'

interface Flags extends ConnectionFlags {
  as?: string
  from?: string
  until?: string
  follow?: boolean
  effects?: boolean
  path?: string
  remove?: string
  yes?: boolean
}

export function addStreamReplay(stream: Command): void {
  withConnection(stream.command('replay'))
    .description('time travel: run a processor over its stored input again, under another name')
    .argument('[module]', 'whose default export is the processor; with --path a unit of that composition')
    .option('--as <name>', 'the name of its view, checkpoints and error output')
    .option('--from <time>', 'only what happened from then on, by event time (2001-07-01, 2001-07-01T12:00Z)')
    .option('--until <time>', 'and only until then')
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .option('--effects', 'also do outside what the program does there: jobs, events, buckets')
    .option('-p, --path <path>', 'composition file or folder that the processor is a unit of')
    .option('--remove <name>', 'remove what a replay left: its view, checkpoints, copies and error output')
    .option('-y, --yes', 'do not ask back')
    .addHelpText(
      'after',
      `
Examples:
  myelin stream replay units/delays.ts --as delays-july --from 2001-07-01 --until 2001-08-01
  myelin stream replay delays -p examples/airline --as delays-again
  myelin tail view.delays-july --from start
  myelin stream replay --remove delays-july`,
    )
    .action(async (module: string | undefined, flags: Flags, command: Command) => {
      if (flags.remove !== undefined) {
        const others = ['as', 'from', 'until', 'follow', 'effects', 'path']
        refuseUnused(command, others, 'with --remove, which runs nothing: leave one out')
        if (module !== undefined) throw new UsageError(`--remove ${flags.remove} runs nothing: leave out ${module}`)
      } else refuseUnused(command, ['yes'], 'without --remove, which alone asks back: leave it out')
      if (flags.remove !== undefined) return remove(flags.remove, flags)
      if (module === undefined) throw new UsageError('name the module of a processor, or give --remove')
      if (flags.as === undefined) throw new UsageError('name the replay: --as <name>')
      const { unit, ...composed } = await load(module, flags.path)
      const signal = interrupted()
      const line = new ProgressLine(flags.json)
      const { views, ...end } = await onBus(flags, (bus) =>
        replay(bus, unit as Unit<never>, {
          as: flags.as!,
          ...composed,
          signal,
          effects: flags.effects ?? false,
          follow: flags.follow ?? false,
          ...(flags.from === undefined ? {} : { from: time(flags.from, '--from') }),
          ...(flags.until === undefined ? {} : { until: time(flags.until, '--until') }),
          onProgress: (progress) => line.show(progress),
        }),
      )
      line.end()
      if (flags.json) return printJson({ ...end, views })
      print(end.caughtUp ? 'caught up with its input' : 'stopped; the same command goes on from here')
      const open = end.open > 0 ? `, ${end.open} events in windows that are not closed` : ''
      const rejected = end.rejected > 0 ? `, ${end.rejected} rejected (myelin stream errors ${flags.as})` : ''
      print(`${end.in} events in, ${end.out} rows out${open}${rejected}`)
      for (const view of views) print(`  myelin tail view.${view} --from start`)
      print(`  myelin stream replay --remove ${flags.as}`)
    })
}

async function load(
  module: string,
  path: string | undefined,
): Promise<{ unit: Unit; name?: string; config?: Readonly<Record<string, unknown>> }> {
  if (path === undefined) return { unit: await loadUnit(module, process.cwd(), 'module') }
  const loaded = await loadComposition(path)
  const names = Object.keys(loaded.composition.units)
  if (!names.includes(module)) {
    const near = nearest(module, names)
    throw failure(
      'NO_MATCH',
      `the composition has no unit "${module}"${near ? `; did you mean "${near}"?` : `; units: ${names.join(', ')}`}`,
    )
  }
  return { unit: await loadUnitOf(loaded, module), name: module, config: loaded.composition.units[module]!.config }
}

/** A time as typed, in full. @throws MyelinError INVALID_INPUT */
function time(typed: string, option: string): string {
  const ms = parseTime(typed)
  if (ms === undefined)
    throw new UsageError(`${option}: expected a time like 2001-07-01 or 2001-07-01T12:00Z, got "${typed}"`)
  return new Date(ms).toISOString()
}

/** How far it is: one line that changes at a terminal, now and then a line elsewhere. */
class ProgressLine {
  readonly #json: boolean | undefined
  readonly #live = process.stderr.isTTY
  #shownAt = Number.NEGATIVE_INFINITY

  constructor(json: boolean | undefined) {
    this.#json = json
  }

  show(progress: ReplayProgress): void {
    const now = performance.now()
    if (!this.#live && !progress.caughtUp && now - this.#shownAt < 2_000) return
    this.#shownAt = now
    if (this.#json) process.stderr.write(`${JSON.stringify(progress)}\n`)
    else if (this.#live) process.stderr.write(`\r${text(progress)}\x1b[K`)
    else process.stderr.write(`${text(progress)}\n`)
  }

  end(): void {
    if (this.#live && !this.#json) process.stderr.write('\n')
  }
}

function text({ in: read, out, lag, perSecond, etaMs, watermarkMs, caughtUp }: ReplayProgress): string {
  const eta = caughtUp || etaMs === undefined ? '' : `, ${ago(etaMs)} to go`
  return `${instant(watermarkMs)}  ${read} in, ${out} out, ${perSecond}/s, lag ${lag}${eta}`
}

async function remove(name: string, flags: Flags): Promise<void> {
  await onBus(flags, async (bus) => {
    const streams = await replayedStreams(bus, name)
    if (!flags.yes) {
      if (!process.stdin.isTTY) {
        throw new UsageError(`${streams.map(({ stream }) => stream).join(', ')} would be removed; say --yes`)
      }
      print(
        table(
          ['STREAM', 'MESSAGES', 'SIZE'],
          streams.map(({ stream, messages, bytes }) => [stream, messages, size(bytes)]),
        ),
      )
      const asked = createInterface({ input: process.stdin, output: process.stdout })
      const answer = await asked.question('Remove them? (y/N) ')
      asked.close()
      if (!/^y(es)?$/i.test(answer.trim())) return print('nothing was removed')
    }
    const removed = await removeReplay(bus, name)
    if (flags.json) printJson(removed)
    else print(`removed ${removed.map(({ stream }) => stream).join(', ')}`)
  })
}
