// Values that wait until the watermark says that what they are looked up in is complete up to and with their time.
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
import { checkKept } from '../json.ts'

interface Waiting {
  readonly timeMs: number
  readonly number: number
  readonly value: unknown
}

// records: [number, timeMs, value]; [number]: it went on
export class LookupBuffer implements Operator {
  readonly #dataflow: Dataflow
  readonly #order: number
  readonly #graceMs: number
  readonly #next: (value: unknown, timeMs: number) => void
  #waiting: Waiting[] = []
  #added: Waiting[] = []
  #gone: number[] = []
  #counter = 0
  nextMs = Number.POSITIVE_INFINITY

  constructor(
    dataflow: Dataflow,
    plan: { order: number; graceMs: number; next: (value: unknown, timeMs: number) => void },
  ) {
    this.#dataflow = dataflow
    this.#order = plan.order
    this.#graceMs = plan.graceMs
    this.#next = plan.next
  }

  get open(): number {
    return this.#waiting.length
  }
  get keys(): number {
    return this.#waiting.length
  }

  push(value: unknown, timeMs: number): void {
    if (this.#dueMs(timeMs) <= this.#dataflow.watermarkOf(this.#order)) {
      this.#next(value, timeMs)
      return
    }
    checkKept('lookup: a value', value, 'given back')
    this.#counter += 1
    const one = { timeMs, number: this.#counter, value }
    this.#waiting.push(one)
    this.#added.push(one)
    this.nextMs = Math.min(this.nextMs, this.#dueMs(timeMs))
    this.#dataflow.wakeAt(this.nextMs, this.#order)
  }

  /** A change of just the watermark's time may still come. */
  #dueMs(timeMs: number): number {
    return timeMs + this.#graceMs + 1
  }

  advance(watermarkMs: number): void {
    const due = this.#waiting.filter(({ timeMs }) => this.#dueMs(timeMs) <= watermarkMs)
    this.#waiting = this.#waiting.filter(({ timeMs }) => this.#dueMs(timeMs) > watermarkMs)
    this.restored()
    for (const { timeMs, number, value } of due.sort((a, b) => a.timeMs - b.timeMs || a.number - b.number)) {
      this.#gone.push(number)
      this.#next(value, timeMs)
    }
  }

  *save(everything: boolean): Generator<StateRecord> {
    const gone = new Set(this.#gone)
    if (!everything) for (const number of gone) yield [number]
    for (const { number, timeMs, value } of everything ? this.#waiting : this.#added) {
      if (everything || !gone.has(number)) yield [number, timeMs, value]
    }
    this.#added = []
    this.#gone = []
  }

  restore([number, timeMs, value]: StateRecord): void {
    this.#counter = Math.max(this.#counter, number as number)
    if (timeMs === undefined) this.#waiting = this.#waiting.filter((one) => one.number !== number)
    else this.#waiting.push({ number: number as number, timeMs: timeMs as number, value })
  }

  restored(): void {
    this.nextMs = this.#waiting.reduce(
      (least, { timeMs }) => Math.min(least, this.#dueMs(timeMs)),
      Number.POSITIVE_INFINITY,
    )
  }
}
