// myelin logs: what units log, as it happens, or since a while ago.
import { type Command, Option } from 'commander'
import {
  type Bus,
  consume,
  failure,
  parseTime,
  readSpan,
  type StreamReader,
  sequenceAt,
  streamInfo,
} from '../../bus/internal.ts'
import { logLevels } from '../../control/index.ts'
import { logSubject, logsStream } from '../../unit/internal.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, sayWaiting, withConnection } from '../connection.ts'
import { milliseconds, print, selectorOf, UsageError } from '../text.ts'

interface Flags extends ConnectionFlags {
  level: (typeof logLevels)[number]
  since?: string
  follow: boolean
}

interface Line {
  readonly level: number
  readonly time: number
  readonly unit?: string
  readonly instance?: string
  readonly msg?: string
  readonly err?: { readonly stack?: string }
  readonly [key: string]: unknown
}

const numbers: Record<string, number> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60, silent: 100 }
const names = new Map(Object.entries(numbers).map(([name, number]) => [number, name]))
const own = new Set(['level', 'time', 'unit', 'instance', 'msg', 'err', 'composition'])

export function addLogs(program: Command): void {
  withConnection(program.command('logs'))
    .description('what units log, as it happens; `myelin ctl loglevel <unit> --level debug` makes them log more')
    .argument('[selector...]', 'site=…, unit=…, instance=…; a word alone is a unit')
    .addOption(new Option('--level <level>', 'only from this level on').choices([...logLevels]).default('info'))
    .option(
      '--since <when>',
      'begin in the past: 10m, 2h, or a time like 2026-11-01T12:00Z (kept: a day, 100,000 lines)',
    )
    .option('--no-follow', 'with --since: end after what is kept')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin logs\n  myelin logs delays --level warn\n  myelin logs delays --since 10m --no-follow\n  myelin logs --json | jq .msg',
    )
    .action(async (words: string[], flags: Flags) => {
      const { site = '*', unit = '*', instance = '*', ...others } = selectorOf(words)
      const [unknown] = Object.keys(others)
      if (unknown) throw new UsageError(`${unknown}=…: log lines are picked by site, unit and instance alone`)
      const least = numbers[flags.level]!
      const fromMs = flags.since === undefined ? undefined : sinceMs(flags.since)
      if (fromMs === undefined && !flags.follow)
        throw new UsageError('--no-follow: say --since when to begin, or there is nothing to print')
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        const waiting = sayWaiting(bus, `log lines of ${words.join(' ') || 'all units'}, ${flags.level} or worse`)
        const show = (text: string) => {
          const line = readLine(text)
          if (!line || line.level < least) return
          waiting.came()
          print(flags.json ? JSON.stringify(line) : readable(line))
        }
        const subject = logSubject(site, unit, instance)
        const close =
          fromMs === undefined
            ? await follow(bus, subject, show)
            : await replay(bus, subject, fromMs, show, flags.follow)
        if (flags.follow) await aborted(signal)
        waiting.stop()
        await close()
      })
    })
}

async function follow(bus: Bus, subject: string, show: (line: string) => void): Promise<() => Promise<void>> {
  const subscription = bus.subscribe(subject, (message) => show(message.string()))
  await bus.flush()
  return async () => subscription.unsubscribe()
}

/** What is kept since a time; with `follow` what comes after it, too. @throws MyelinError STREAM_NOT_FOUND, … */
async function replay(
  bus: Bus,
  subject: string,
  timeMs: number,
  show: (line: string) => void,
  follow: boolean,
): Promise<() => Promise<void>> {
  if (!(await streamInfo(bus, logsStream))) {
    throw failure(
      'STREAM_NOT_FOUND',
      `no logs are kept here: \`myelin up\` makes the stream ${logsStream} where JetStream is on and its user may`,
    )
  }
  if (!follow) {
    const from = await sequenceAt(bus, logsStream, timeMs)
    for await (const { data } of readSpan(bus, logsStream, { from, subjects: [subject] })) show(textOf(data))
    return async () => undefined
  }
  let reader: StreamReader | undefined
  reader = await consume(bus, {
    stream: logsStream,
    subjects: [subject],
    from: { timeMs },
    onMessage: ({ data }) => {
      reader?.release()
      show(textOf(data))
    },
  })
  return () => reader.stop()
}

const textOf = (data: Uint8Array) => Buffer.from(data).toString()

/** @throws UsageError */
function sinceMs(typed: string): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(typed)) return Date.now() - milliseconds(typed)
  const timeMs = parseTime(typed)
  if (timeMs !== undefined) return timeMs
  throw new UsageError(`--since: expected a duration like 10m or a time like 2026-11-01T12:00Z, got "${typed}"`)
}

/** Anybody may publish here: what is no line of a log is left out. */
function readLine(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Partial<Line> | null
    return typeof line?.level === 'number' && typeof line.time === 'number' ? (line as Line) : undefined
  } catch {
    return undefined
  }
}

function readable(line: Line): string {
  const at = new Date(line.time).toLocaleTimeString('en-GB')
  const who = line.unit ? `${line.unit}.${line.instance ?? ''}` : 'runner'
  const rest = Object.entries(line)
    .filter(([key]) => !own.has(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const stack = line.err?.stack ? `\n${line.err.stack}` : ''
  return (
    `${at} ${(names.get(line.level) ?? String(line.level)).padEnd(5)} ${who}  ${line.msg ?? ''}  ${rest.join(' ')}`.trimEnd() +
    stack
  )
}
