// npm start: the whole airline on a nats-server of its own, with a page to look at. See --help.
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type Bus, connect, embeddedNats, MyelinError } from 'myelin/bus'
import { loadComposition, type Running, up } from 'myelin/runtime'
import { forgetAirline, infoOf, type Position, positionOf, type Summary, summarize } from './summary.ts'

const folder = import.meta.dirname

const program = new Command('npm start --')
  .description('The airline: 3,000,000 real flights of 2001 through feed, windows, jobs and a live page.')
  .addOption(new Option('--speed <speed>', "seconds of 2001 per second, or 'max'").default(3600).argParser(speed))
  .addOption(new Option('--for <duration>', 'stop after so long: 20s, 5m').argParser(duration))
  .option('--once', 'stop when the whole file is through')
  .option('--fresh', 'forget what earlier runs stored')
  .addOption(new Option('--limit <flights>', 'only the first flights of the file').argParser(positive))
  .addOption(new Option('--port <port>', 'of the page; 0: a free one').default(4280).argParser(whole))
  .option('--no-board', 'without the page')
  .option('--only <units>', 'only these units, separated by commas')
  .option('--server <url>', 'an external NATS server instead of one of its own')
  .option('--store <folder>', 'where the server keeps its data', join(folder, '../../.myelin/nats'))
  .option('--json', 'print one JSON summary at the end and nothing else on stdout')
  .addHelpText(
    'after',
    `
Examples:
  npm start                                      an hour of 2001 per second, page at http://127.0.0.1:4280
  npm start -- --speed max --once                the whole file as fast as it goes
  npm start -- --for 20s --speed max --json      twenty seconds, then a summary`,
  )
  .parse()

const options = program.opts<{
  speed: number | 'max'
  for?: number
  once?: boolean
  fresh?: boolean
  limit?: number
  port: number
  board: boolean
  only?: string
  server?: string
  store: string
  json?: boolean
}>()

// units log what is worth a line to stderr; what they do every day is in the summary
process.env.MYELIN_LOG ??= 'warn'

main().catch((error) => {
  process.stderr.write(`${error instanceof MyelinError ? error.explain() : String(error?.stack ?? error)}\n`)
  process.exit(1)
})

async function main(): Promise<void> {
  checkOptions()
  const say = (line: string) => {
    if (!options.json) process.stdout.write(`${line}\n`)
  }
  const stopped = Promise.withResolvers<string>()
  // a signal while things start is obeyed as soon as they stand; a second one does not wait
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    let count = 0
    process.on(signal, () => {
      count += 1
      if (count > 1) process.exit(130)
      stopped.resolve(signal)
    })
  }
  await using server = options.server
    ? undefined
    : await embeddedNats({
        storeDir: options.store,
        memoryLimitBytes: 300 * 1024 ** 2,
        fresh: options.fresh ?? false,
      })
  const servers = options.server ?? server!.url
  await using bus = await connect({ servers, name: 'airline', requires: { jetstream: true, version: '2.12.0' } })
  const position = await prepare(bus, say)

  const loaded = await loadComposition(folder)
  const startedAt = performance.now()
  await using running = await up(bus, loaded, {
    only: chosen(Object.keys(loaded.composition.units)),
    config: {
      ...(options.board ? { board: { port: options.port } } : {}),
      feed: { speed: options.speed, ...(options.limit ? { limit: options.limit } : {}) },
    },
  })
  introduce(running, servers, say)
  const live = options.json ? undefined : liveLine(running)
  const ends: Promise<string>[] = [stopped.promise, running.failed.then((error) => Promise.reject(error))]
  if (options.for) ends.push(new Promise((resolve) => setTimeout(resolve, options.for, 'time')))
  if (options.once) ends.push(everythingThrough(running))
  const why = await Promise.race(ends)

  live?.stop()
  const seconds = (performance.now() - startedAt) / 1_000
  say(`${why === 'finished' ? 'The file is through' : `Stopping (${why})`}; draining…`)
  // the source first, so that what is under way can arrive
  await running.stop('feed')
  await settle(bus, running)
  const summary = await summarize(bus, running.status(), position, seconds, server?.pid)
  await running.drain()
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  else say(`\n${summaryText(summary)}`)
  if (summary.lost > 0 || summary.duplicates > 0) process.exitCode = 1
}

/** What would do nothing beside another option is refused. @throws MyelinError INVALID_OPTION */
function checkOptions(): void {
  const typed = (name: string) => program.getOptionValueSource(name) === 'cli'
  const refuse = (why: string) => {
    throw new MyelinError('INVALID_OPTION', why)
  }
  if (options.server && options.fresh)
    refuse(
      '--fresh empties the store of a server of its own, never that of --server: leave one out, or remove the streams there first (nats stream rm)',
    )
  if (options.server && typed('store'))
    refuse('--store is where a server of its own keeps its data; that of --server has its place: leave one out')
  if (!options.board && typed('port')) refuse('--port is that of the page: leave it or --no-board out')
}

function chosen(units: readonly string[]): string[] {
  const only = options.only?.split(',').map((unit) => unit.trim()) ?? units
  return only.filter((unit) => options.board || unit !== 'board')
}

/** Where an earlier run stopped; one that reached the end is forgotten, so that there is something to see. */
async function prepare(bus: Bus, say: (line: string) => void): Promise<Position> {
  const before = await positionOf(bus)
  if (before.ended) {
    say('The last run reached the end of the file: starting over.')
    await forgetAirline(bus)
    return positionOf(bus)
  }
  if (before.flights > 0) {
    say(`Going on after flight ${before.flights.toLocaleString('en')} of an earlier run (--fresh starts over).`)
  }
  return before
}

function summaryText(summary: Summary): string {
  const { peakMb, ...numbers } = summary
  const memory = Object.entries(peakMb).map(([process, mb]) => `${process} ${mb} MB`)
  const rows = Object.entries(numbers).map(([key, value]) => [key, value.toLocaleString('en')])
  return table([...rows, ['peak memory', memory.join(', ')]])
}

function introduce(running: Running, servers: string, say: (line: string) => void): void {
  const status = running.status()
  say(`\nairline on ${servers}\n`)
  say(
    table([
      ['unit', 'kind', 'state', 'instance', 'pid'],
      ...status.map((s) => [s.unit, s.kind, s.state, s.instance, String(s.pid)]),
    ]),
  )
  const port = status.find(({ unit }) => unit === 'board')?.stats.port
  if (port) say(`\n  page   http://127.0.0.1:${port}`)
  say('  steer  npx myelin ls, top, ctl pause delays, audit')
  say(`  stop   Ctrl-C\n`)
}

function liveLine(running: Running): { stop(): void } {
  const tty = process.stdout.isTTY
  let last = { at: performance.now(), flights: 0 }
  const print = () => {
    const sum = (unit: string, key: string) =>
      running.status().reduce((total, s) => total + (s.unit === unit ? (s.stats[key] ?? 0) : 0), 0)
    const now = performance.now()
    const flights = sum('delays', 'position')
    const rate = Math.max(0, Math.round(((flights - last.flights) * 1_000) / (now - last.at)))
    if (last.flights === 0) {
      last = { at: now, flights }
      return
    }
    last = { at: now, flights }
    const n = (value: number) => value.toLocaleString('en')
    const line =
      `flights ${n(flights)} of ${n(sum('feed', 'total'))} · ${n(rate)}/s · windows ${n(sum('delays', 'out'))}` +
      ` · rebooked ${n(sum('rebooking', 'jobsDone'))} · browsers ${n(sum('board', 'clients'))}`
    process.stdout.write(tty ? `\r\x1b[K${line}` : `${line}\n`)
  }
  const timer = setInterval(print, tty ? 1_000 : 5_000)
  return {
    stop() {
      clearInterval(timer)
      if (tty) process.stdout.write('\n')
    },
  }
}

async function everythingThrough(running: Running): Promise<string> {
  await Promise.all([running.finished('feed'), running.finished('delays')])
  return 'finished'
}

/** Waits until windows have seen every flight and the jobs are done; not for ever. */
async function settle(bus: Bus, running: Running): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const stored = (await infoOf(bus, 'EVT_flights_departed'))?.state.last_seq ?? 0
    const waiting = (await infoOf(bus, 'JOB_rebooking_rebook'))?.state.messages ?? 0
    const read = running.status().find(({ unit }) => unit === 'delays')?.stats.position ?? 0
    if (read >= stored && waiting === 0) break
  }
  await new Promise((resolve) => setTimeout(resolve, 600)) // the last counters of the processes arrive twice a second
}

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd())
    .join('\n')
}

function speed(text: string): number | 'max' {
  const value = text === 'max' ? text : Number(text)
  if (value === 'max' || (text !== '' && value >= 0 && value <= 1_000_000)) return value
  throw new InvalidArgumentError("expected a number from 0 to 1,000,000, or 'max'")
}

function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  if (!match) throw new InvalidArgumentError('expected a duration like 20s or 5m')
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as 'ms' | 's' | 'm' | 'h']
}

function whole(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 65_535) throw new InvalidArgumentError('expected a port from 0 to 65535')
  return Number(text)
}

function positive(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('expected a whole number above 0')
  return Number(text)
}
