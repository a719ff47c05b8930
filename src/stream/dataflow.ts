// What a program is while it runs: its clocks, the operators that remember something, and what has come out. Everything
// here is a pure function of the messages read so far, in their order; that is what makes a replay give the same output.
import { failure } from '../bus/internal.ts'
import type { Operator, Push, Row, StateRecord } from './operator.ts'

export type { Operator, Push, Row, StateRecord } from './operator.ts'

/** What a program's steps need of whoever runs it. */
export interface DataflowHost {
  /** Something must be done outside for this value. */
  startEffect(effect: number, value: unknown): void
  /** A value in the middle of the program cannot be used; it is left out. */
  reject(error: unknown): void
  /** Whether a key is this dataflow's to keep; throws when it belongs to another partition. */
  ownKey?(key: string): void
  /** Only what happened in this span counts; unix ms. */
  readonly span?: { readonly fromMs: number; readonly untilMs: number }
  /** Keys that one operator may remember. */
  readonly maxKeys?: number
  /** Of these, how many an operator of windows keeps in memory. */
  readonly keysInMemory?: number
}

interface Clock {
  /** Its place in the program. */
  readonly order: number
  ms: number
  readonly idleMs: number
  readonly sources: ReadonlySet<number>
  /** Sources that have not ended. */
  readonly running: Set<number>
  /** By the server's clock, when it last ticked. */
  tickedMs: number
  idle: boolean
}

/** The dataflow's own record in a checkpoint. */
interface SavedDataflow {
  readonly watermark: number | 'end' | null
  readonly clocks: readonly (readonly [
    ms: number | 'end' | null,
    tickedMs: number | null,
    idle: boolean,
    running: number[],
  ])[]
  readonly late: number
}

const defaultMaxKeys = 10_000_000
// about 400 MB of windows with a few aggregates
const defaultKeysInMemory = 1_000_000

export class Dataflow {
  readonly host: DataflowHost
  readonly maxKeys: number
  readonly keysInMemory: number
  readonly #nodes = new Map<object, Push<never>[]>()
  readonly #inputs = new Map<number | object, Push<unknown>[]>()
  readonly #shared = new Map<object, unknown>()
  readonly #operators: { readonly order: number; readonly operator: Operator; readonly behindMs: number }[] = []
  /** By order, those whose watermark is behind; most programs have none. */
  #behind: Map<number, number> | undefined
  readonly #steps: { readonly order: number; readonly text: string }[] = []
  readonly #clocks: Clock[] = []
  #watermarkMs = Number.NEGATIVE_INFINITY
  /** The watermark before the one that operators advance to. */
  #beforeMs = Number.NEGATIVE_INFINITY
  /** While operators advance: those from this order on still live in the time before. */
  #advancedTo = Number.POSITIVE_INFINITY
  #nextMs = Number.POSITIVE_INFINITY
  /** What was announced to the other partitions of the one clock that there is. */
  #announcedMs = Number.NEGATIVE_INFINITY
  /** When the server stored the present message, unix ms. */
  storedMs = 0
  /** Rows that came out since they were last taken. */
  rows: Row[] = []
  /** Events that came after their window had closed for good. */
  late = 0
  /** Only clocks are of interest; see scout.ts. */
  readonly scouting: boolean = false

  constructor(host: DataflowHost) {
    this.host = host
    this.maxKeys = host.maxKeys ?? defaultMaxKeys
    this.keysInMemory = host.keysInMemory ?? defaultKeysInMemory
  }

  /** No event before this time is expected any more, unix ms; Infinity after the end of the input. */
  get watermarkMs(): number {
    return this.#watermarkMs
  }
  get open(): number {
    return this.#operators.reduce((sum, { operator }) => sum + operator.open, 0)
  }
  get keys(): number {
    return this.#operators.reduce((sum, { operator }) => sum + operator.keys, 0)
  }
  /** The program's steps in order: a checkpoint of another program must not be loaded. */
  get shape(): string {
    return this.#steps.map(({ text }) => text).join(' → ')
  }
  get steps(): readonly string[] {
    return this.#steps.map(({ text }) => text)
  }

  // --- putting it together -------------------------------------------------------------------------------------------

  /** Connects `next` to what a node gives out; the first to come builds the node. `fan`: how many will come at most. */
  connect<T>(node: object, fan: number, next: Push<T>, build: (out: Push<T>) => void): void {
    if (fan <= 1) {
      build(next)
      return
    }
    const known = this.#nodes.get(node) as Push<T>[] | undefined
    if (known) {
      known.push(next)
      return
    }
    const outs = [next]
    this.#nodes.set(node, outs as Push<never>[])
    build((value, timeMs) => {
      for (const out of outs) out(value, timeMs)
    })
  }

  /** Those who get what a source (by its number) or the root of a side output delivers. */
  inputs(root: number | object): Push<unknown>[] {
    let pushes = this.#inputs.get(root)
    if (!pushes) {
      pushes = []
      this.#inputs.set(root, pushes)
    }
    return pushes
  }

  /** What several steps use together; the first to come builds it. */
  shared<Part>(node: object, build: () => Part): Part {
    if (!this.#shared.has(node)) this.#shared.set(node, build())
    return this.#shared.get(node) as Part
  }

  /** Steps are listed from upstream to downstream whatever the order in which they were connected. */
  describe(order: number, text: string): void {
    insert(this.#steps, { order, text })
  }

  /** `behindMs`: what it is fed with may be so far behind the watermark, and so its own watermark is. */
  add(order: number, operator: Operator, behindMs = 0): void {
    insert(this.#operators, { order, operator, behindMs })
    if (behindMs > 0) {
      this.#behind ??= new Map()
      this.#behind.set(order, behindMs)
    }
  }

  /** Event time of one stream of values. The watermark is the least of all clocks that are not idle. */
  clock(sources: ReadonlySet<number>, idleMs: number, order: number): number {
    this.#clocks.push({
      order,
      ms: Number.NEGATIVE_INFINITY,
      idleMs,
      sources,
      running: new Set(sources),
      tickedMs: Number.NaN,
      idle: false,
    })
    return this.#clocks.length - 1
  }

  // --- running -------------------------------------------------------------------------------------------------------

  feed(source: number, value: unknown, storedMs: number): void {
    this.storedMs = storedMs
    const pushes = this.#inputs.get(source)
    if (pushes?.length === 1) pushes[0]!(value, storedMs)
    else if (pushes) for (const push of pushes) push(value, storedMs)
    if (this.#clocks.length > 1) this.#lookForIdle()
  }

  /** A source said that nothing follows. */
  end(source: number): void {
    for (const clock of this.#clocks) {
      if (clock.running.delete(source) && clock.running.size === 0) clock.ms = Number.POSITIVE_INFINITY
    }
    this.#settle()
  }

  /** Whether what comes out now is let out by time, and not by the present message alone. */
  get advancing(): boolean {
    return this.#advancedTo !== Number.POSITIVE_INFINITY
  }

  /** A clock has reached a time. Hot path: for most events of one clock this is three comparisons. */
  tick(number: number, ms: number): void {
    const clock = this.#clocks[number]!
    if (this.#clocks.length > 1) {
      clock.tickedMs = this.storedMs
      clock.idle = false
    }
    if (ms <= clock.ms) return
    clock.ms = ms
    if (this.#clocks.length === 1) this.#moveTo(ms)
    else this.#settle()
  }

  /** What a message that another partition has did to a clock, by the clock's place in the program. */
  tickElsewhere(order: number, ms: number, storedMs: number): void {
    const number = this.#clocks.findIndex((clock) => clock.order === order)
    if (number < 0) return
    if (this.#clocks.length === 1) {
      this.tick(number, ms)
      return
    }
    this.storedMs = storedMs
    this.tick(number, ms)
    this.#lookForIdle()
  }

  /** What clocks say, by their places in the program; those that have not begun and those that have ended say nothing. */
  get times(): ReadonlyMap<number, number> {
    return new Map(this.#clocks.flatMap(({ order, ms }) => (Number.isFinite(ms) ? [[order, ms] as const] : [])))
  }
  /** Whether other partitions need to know of a tick; ask in order. Of one clock only what is later than all before. */
  isNews(order: number, ms: number): boolean {
    if (this.#clocks.length > 1) return true
    const [clock] = this.#clocks
    if (clock?.order !== order || ms <= clock.ms || ms <= this.#announcedMs) return false
    this.#announcedMs = ms
    return true
  }

  /** By the server's own times, so that a replay finds the same clocks idle at the same messages. */
  #lookForIdle(): void {
    let changed = false
    for (const clock of this.#clocks) {
      if (Number.isNaN(clock.tickedMs)) clock.tickedMs = this.storedMs
      if (!clock.idle && this.storedMs - clock.tickedMs > clock.idleMs) {
        clock.idle = true
        changed = true
      }
    }
    if (changed) this.#settle()
  }

  #settle(): void {
    const clocks = this.#clocks.filter(({ idle, ms }) => !idle || ms === Number.POSITIVE_INFINITY)
    if (clocks.length > 0) this.#moveTo(Math.min(...clocks.map(({ ms }) => ms)))
  }

  #moveTo(watermarkMs: number): void {
    if (watermarkMs <= this.#watermarkMs) return
    this.#beforeMs = this.#watermarkMs
    this.#watermarkMs = watermarkMs
    if (watermarkMs < this.#nextMs) return
    // upstream first: what it lets out reaches downstream operators before the new watermark does
    for (const { order, operator, behindMs } of this.#operators) {
      this.#advancedTo = order
      if (operator.nextMs + behindMs <= watermarkMs) operator.advance(watermarkMs - behindMs)
    }
    this.#advancedTo = Number.POSITIVE_INFINITY
    this.#plan()
  }

  #plan(): void {
    this.#nextMs = Number.POSITIVE_INFINITY
    for (const { operator, behindMs } of this.#operators) {
      this.#nextMs = Math.min(this.#nextMs, operator.nextMs + behindMs)
    }
  }

  /** The watermark as an operator knows it. */
  watermarkOf(order: number): number {
    const ms = order > this.#advancedTo ? this.#beforeMs : this.#watermarkMs
    return this.#behind === undefined ? ms : ms - (this.#behind.get(order) ?? 0)
  }

  /** An operator has something to do at this watermark of its own. */
  wakeAt(watermarkMs: number, order: number): void {
    const ms = this.#behind === undefined ? watermarkMs : watermarkMs + (this.#behind.get(order) ?? 0)
    if (ms < this.#nextMs) this.#nextMs = ms
  }

  // --- checkpoints ---------------------------------------------------------------------------------------------------

  /** Records of all operators, each after its operator's number; the dataflow's own have the number -1. */
  *save(everything: boolean): Generator<readonly [operator: number, ...StateRecord]> {
    const saved: SavedDataflow = {
      watermark: jsonTime(this.#watermarkMs),
      clocks: this.#clocks.map(({ ms, tickedMs, idle, running }) => [
        jsonTime(ms),
        Number.isNaN(tickedMs) ? null : tickedMs,
        idle,
        [...running],
      ]),
      late: this.late,
    }
    yield [-1, saved]
    for (let i = 0; i < this.#operators.length; i++) {
      for (const record of this.#operators[i]!.operator.save(everything)) yield [i, ...record]
    }
  }

  /** How a step is described, by the number of its operator in records. */
  operatorText(number: number): string {
    const order = this.#operators[number]?.order
    return this.#steps.find((step) => step.order === order)?.text ?? 'of the dataflow'
  }

  restore([number, ...record]: readonly [operator: number, ...StateRecord]): void {
    if (number >= 0) {
      const operator = this.#operators[number]?.operator
      if (!operator) {
        throw failure('STREAM_MISMATCH', `the checkpoint has an operator ${number}, the program has not`)
      }
      operator.restore(record)
      return
    }
    const saved = record[0] as SavedDataflow
    this.#watermarkMs = timeOf(saved.watermark)
    this.late = saved.late
    saved.clocks.forEach(([ms, tickedMs, idle, running], i) => {
      const clock = this.#clocks[i]!
      clock.ms = timeOf(ms)
      clock.tickedMs = tickedMs ?? Number.NaN
      clock.idle = idle
      clock.running.clear()
      for (const source of running) clock.running.add(source)
    })
  }

  /** Call after the last record. */
  restored(): void {
    for (const { operator } of this.#operators) operator.restored()
    this.#plan()
  }
}

function insert<Item extends { readonly order: number }>(list: Item[], item: Item): void {
  const at = list.findIndex(({ order }) => order > item.order)
  list.splice(at < 0 ? list.length : at, 0, item)
}

const jsonTime = (ms: number): number | 'end' | null =>
  ms === Number.POSITIVE_INFINITY ? 'end' : Number.isFinite(ms) ? ms : null
const timeOf = (saved: number | 'end' | null): number =>
  saved === 'end' ? Number.POSITIVE_INFINITY : (saved ?? Number.NEGATIVE_INFINITY)
