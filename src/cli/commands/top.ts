// myelin top: the fleet, live.
import type { Command } from 'commander'
import { type Fleet, type FleetChange, fleet, type Member, matches, type Selector } from '../../heartbeat/index.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, sayWaiting, withConnection } from '../connection.ts'
import { fleetTable, memberJson } from '../fleet-table.ts'
import { print, printJson, selectorOf } from '../text.ts'

const everyMs = 1_000
const kept = 8
const bars = ' ▁▂▃▄▅▆▇█'
const sparkWidth = 12

export function addTop(program: Command): void {
  withConnection(program.command('top'))
    .description('watch the fleet: state, health, rate, lag, memory of every instance, and what happens to them')
    .argument('[selector...]', 'as for ls')
    .option('--once', 'print once and end; also when the output is no terminal')
    .addHelpText(
      'after',
      `
Examples:
  myelin top
  myelin top unit=delays --once
  myelin top --json | jq -r 'select(.transition == "died") | .unit'`,
    )
    .action(async (words: string[], flags: ConnectionFlags & { once?: boolean }) => {
      const selector = selectorOf(words)
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        await using watching = await fleet(bus)
        if (flags.json) {
          // what is there first, then what happens to it, a line each
          for (const member of watching.list(selector)) printJson(memberJson(member))
          if (flags.once) return
          const waiting = sayWaiting(bus, 'changes of the fleet')
          watching.on(({ transition, member }) => {
            if (!matches(member.beat, selector)) return
            waiting.came()
            printJson({ transition, ...(memberJson(member) as object) })
          })
          await aborted(signal)
          return waiting.stop()
        }
        // a screen that redraws itself is of no use to a pipe or a file
        if (flags.once || !process.stdout.isTTY) return print(fleetTable(watching.list(selector)))
        const screen = new Screen(watching, selector)
        await new Promise<void>((resolve) => {
          void aborted(signal).then(resolve)
          const release = onKeys(screen, () => {
            release()
            resolve()
          })
        })
        screen.close()
      })
    })
}

/** Redraws the terminal once a second, and at once on a key; the terminal is left as it was. */
class Screen {
  readonly #fleet: Fleet
  readonly #selector: Selector
  readonly #timer: NodeJS.Timeout
  readonly #log: string[] = []
  readonly #totals: number[] = []
  readonly #rates = new Map<string, number[]>()
  readonly #stop: () => void
  #order: Order = 'unit'

  constructor(watching: Fleet, selector: Selector) {
    this.#fleet = watching
    this.#selector = selector
    this.#stop = watching.on((change) => this.#note(change))
    process.stdout.write('\x1b[?1049h\x1b[?25l')
    this.#timer = setInterval(() => {
      this.#sample()
      this.draw()
    }, everyMs)
    this.#sample()
    this.draw()
  }

  sortBy(order: Order): void {
    this.#order = order
    this.draw()
  }

  #note({ transition, member }: FleetChange): void {
    const { unit, instance } = member.beat
    this.#log.unshift(`${new Date().toLocaleTimeString('en-GB')}  ${unit}.${instance}  ${transition}`)
    this.#log.length = Math.min(this.#log.length, kept)
  }

  #sample(): void {
    const members = this.#fleet.list(this.#selector)
    const present = new Set(members.map(({ beat }) => beat.instance))
    for (const instance of this.#rates.keys()) if (!present.has(instance)) this.#rates.delete(instance)
    let total = 0
    for (const { beat, status } of members) {
      const rate = status === 'alive' ? (beat.vitals.rate ?? 0) : 0
      total += rate
      const rates = this.#rates.get(beat.instance) ?? []
      rates.push(rate)
      if (rates.length > sparkWidth) rates.shift()
      this.#rates.set(beat.instance, rates)
    }
    this.#totals.push(total)
    if (this.#totals.length > 40) this.#totals.shift()
  }

  draw(): void {
    const members = this.#fleet.list(this.#selector).sort(orders[this.#order])
    const alive = members.filter(({ status }) => status === 'alive').length
    const total = this.#totals.at(-1) ?? 0
    const head = this.#fleet.blind
      ? '\x1b[31mblind: the connection is lost; nothing can be said about the others\x1b[0m'
      : `${alive} alive of ${members.length} · ${total.toLocaleString('en')}/s ${spark(this.#totals)}`
    const width = process.stdout.columns ?? 200
    const height = process.stdout.rows ?? 50
    const body = fleetTable(members, { sparkOf: ({ beat }) => spark(this.#rates.get(beat.instance) ?? [], sparkWidth) })
    const lines = [head, '', ...body.split('\n').map((line) => coloured(line.slice(0, width))), '', ...this.#log].slice(
      0,
      height - 2,
    )
    const keys = `by ${(Object.keys(orders) as Order[]).map((order) => (order === this.#order ? `\x1b[1m${order}\x1b[22m` : order)).join(' ')} (their first letters) · q quits`
    process.stdout.write(
      `\x1b[H${[...lines, `\x1b[2m${keys}\x1b[22m`].map((line) => `${line}\x1b[K`).join('\n')}\x1b[J`,
    )
  }

  close(): void {
    clearInterval(this.#timer)
    this.#stop()
    process.stdout.write('\x1b[?25h\x1b[?1049l')
  }
}

const byUnit = (a: Member, b: Member) =>
  a.beat.unit.localeCompare(b.beat.unit) || a.beat.instance.localeCompare(b.beat.instance)
const orders = {
  unit: byUnit,
  rate: (a: Member, b: Member) => (b.beat.vitals.rate ?? 0) - (a.beat.vitals.rate ?? 0) || byUnit(a, b),
  lag: (a: Member, b: Member) => (b.beat.vitals.lag ?? 0) - (a.beat.vitals.lag ?? 0) || byUnit(a, b),
  cpu: (a: Member, b: Member) => (b.beat.vitals.cpu ?? 0) - (a.beat.vitals.cpu ?? 0) || byUnit(a, b),
  memory: (a: Member, b: Member) => (b.beat.vitals.rssBytes ?? 0) - (a.beat.vitals.rssBytes ?? 0) || byUnit(a, b),
}
type Order = keyof typeof orders

/** A line of bars, the highest of them full. */
function spark(values: readonly number[], width = 0): string {
  const most = Math.max(1, ...values)
  return values
    .map((value) => bars[Math.ceil((value / most) * (bars.length - 1))])
    .join('')
    .padStart(width)
}

/** Keys while the screen is up. */
function onKeys(screen: Screen, quit: () => void): () => void {
  if (!process.stdin.isTTY) return () => undefined
  const heard = (data: Buffer) => {
    const key = data.toString()
    const order = (Object.keys(orders) as Order[]).find((name) => name[0] === key)
    if (key === 'q' || key === '\x03') quit()
    else if (order) screen.sortBy(order)
  }
  process.stdin.setRawMode(true)
  process.stdin.resume()
  process.stdin.on('data', heard)
  return () => {
    process.stdin.off('data', heard)
    process.stdin.setRawMode(false)
    process.stdin.pause()
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
