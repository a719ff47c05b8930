// myelin top: the fleet, live.
import type { Command } from 'commander'
import { type Fleet, type FleetChange, fleet, parseSelector } from '../../heartbeat/index.ts'
import { type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { fleetTable, memberJson } from '../fleet-table.ts'
import { print, printJson } from '../text.ts'

const everyMs = 1_000
const kept = 8
const bars = '▁▂▃▄▅▆▇█'

export function addTop(program: Command): void {
  withConnection(program.command('top'))
    .description('watch the fleet: state, health, rate, lag, memory of every instance, and what happens to them')
    .argument('[selector...]', 'as for ls')
    .option('--once', 'print once and end')
    .action(async (words: string[], flags: ConnectionFlags & { once?: boolean }) => {
      const selector = parseSelector(words)
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        if (flags.once) return print(fleetTable(watching.list(selector)))
        if (flags.json) {
          watching.on(({ transition, member }) => printJson({ transition, ...(memberJson(member) as object) }))
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          return
        }
        const screen = new Screen(watching, () => fleetTable(watching.list(selector)))
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        screen.close()
      })
    })
}

/** Redraws the terminal once a second; left as it was at the end. */
class Screen {
  readonly #fleet: Fleet
  readonly #body: () => string
  readonly #timer: NodeJS.Timeout
  readonly #log: string[] = []
  readonly #totals: number[] = []
  readonly #stop: () => void

  constructor(watching: Fleet, body: () => string) {
    this.#fleet = watching
    this.#body = body
    this.#stop = watching.on((change) => this.#note(change))
    process.stdout.write('\x1b[?1049h\x1b[?25l')
    this.#timer = setInterval(() => this.#draw(), everyMs)
    this.#draw()
  }

  #note({ transition, member }: FleetChange): void {
    const { unit, instance } = member.beat
    this.#log.unshift(`${new Date().toLocaleTimeString('en-GB')}  ${unit}.${instance}  ${transition}`)
    this.#log.length = Math.min(this.#log.length, kept)
  }

  #draw(): void {
    const members = this.#fleet.list()
    const total = members.reduce((sum, { beat }) => sum + (beat.vitals.rate ?? 0), 0)
    this.#totals.push(total)
    if (this.#totals.length > 40) this.#totals.shift()
    const most = Math.max(1, ...this.#totals)
    const spark = this.#totals.map((value) => bars[Math.floor((value / most) * (bars.length - 1))]).join('')
    const alive = members.filter(({ status }) => status === 'alive').length
    const head = this.#fleet.blind
      ? '\x1b[31mblind: the connection is lost\x1b[0m'
      : `${alive} alive of ${members.length} · ${total.toLocaleString('en')}/s ${spark}`
    const width = process.stdout.columns ?? 200
    const height = process.stdout.rows ?? 50
    const lines = [
      head,
      '',
      ...this.#body()
        .split('\n')
        .map((line) => coloured(line.slice(0, width))),
      '',
      ...this.#log,
    ]
    process.stdout.write(
      `\x1b[H${lines
        .slice(0, height - 1)
        .map((line) => `${line}\x1b[K`)
        .join('\n')}\x1b[J`,
    )
  }

  close(): void {
    clearInterval(this.#timer)
    this.#stop()
    process.stdout.write('\x1b[?25h\x1b[?1049l')
  }
}

const colours: readonly [RegExp, number][] = [
  [/\b(dead \S+|failed\S*)/, 31],
  [/\b(suspect \S+|busy \S+|degraded\S*)/, 33],
  [/\b(paused|stopped|left|draining|starting)\b/, 36],
  [/\bready\b/, 32],
]

function coloured(line: string): string {
  for (const [pattern, colour] of colours) {
    if (pattern.test(line)) return line.replace(pattern, (text) => `\x1b[${colour}m${text}\x1b[0m`)
  }
  return line
}
