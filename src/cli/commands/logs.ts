// myelin logs: what units log, as it happens.
import { type Command, Option } from 'commander'
import { logLevels } from '../../control/index.ts'
import { logSubject } from '../../unit/index.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, sayWaiting, withConnection } from '../connection.ts'
import { print, selectorOf, UsageError } from '../text.ts'

interface Flags extends ConnectionFlags {
  level: (typeof logLevels)[number]
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
    .description('follow what units log; `myelin ctl loglevel <unit> --level debug` makes them say more')
    .argument('[selector...]', 'site=…, unit=…, instance=…; a word alone is a unit')
    .addOption(new Option('--level <level>', 'only from this level on').choices([...logLevels]).default('info'))
    .addHelpText(
      'after',
      '\nExamples:\n  myelin logs\n  myelin logs delays --level warn\n  myelin logs --json | jq .msg',
    )
    .action(async (words: string[], flags: Flags) => {
      const { site = '*', unit = '*', instance = '*', ...others } = selectorOf(words)
      const [unknown] = Object.keys(others)
      if (unknown) throw new UsageError(`${unknown}=…: log lines are picked by site, unit and instance alone`)
      const least = numbers[flags.level]!
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        const waiting = sayWaiting(bus, `log lines of ${words.join(' ') || 'all units'}, ${flags.level} or worse`)
        const subscription = bus.subscribe(logSubject(site, unit, instance), (message) => {
          const line = readLine(message.string())
          if (!line || line.level < least) return
          waiting.came()
          print(flags.json ? JSON.stringify(line) : readable(line))
        })
        await bus.flush()
        await aborted(signal)
        waiting.stop()
        subscription.unsubscribe()
      })
    })
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
  const who = line.unit ? `${line.unit}.${line.instance ?? ''}` : 'host'
  const rest = Object.entries(line)
    .filter(([key]) => !own.has(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const stack = line.err?.stack ? `\n${line.err.stack}` : ''
  return (
    `${at} ${(names.get(line.level) ?? String(line.level)).padEnd(5)} ${who}  ${line.msg ?? ''}  ${rest.join(' ')}`.trimEnd() +
    stack
  )
}
