// What a program is while it runs: event time, the operators that hold state, and what has come out. Everything here is
// a pure function of the messages read so far, in their order; that is what makes a replay give the same output.
import { failure } from '../bus/index.ts'

/** Takes a value with its event time (unix ms; the stream's own time of storage until `.time()` sets another). */
export type Push<T> = (value: T, timeMs: number) => void

/** An operator whose memory belongs into checkpoints. */
export interface Stateful {
  /** The watermark from which on `advance` must be called. */
  readonly nextMs: number
  /** Events it holds that no row tells of yet. */
  readonly open: number
  /** No event before the watermark is expected any more. */
  advance(watermarkMs: number): void
  /** Plain JSON. */
  save(): unknown
  restore(saved: unknown): void
}

/** A row on its way to the view. */
export interface Row {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface SavedCircuit {
  readonly watermarkMs: number | 'end' | null
  readonly late: number
  readonly operators: readonly unknown[]
}

export class Circuit {
  readonly #operators: Stateful[] = []
  readonly #shape: string[] = []
  readonly #startEffect: (effect: number, value: unknown) => void
  #watermarkMs = Number.NEGATIVE_INFINITY
  #nextMs = Number.POSITIVE_INFINITY
  /** Rows that came out since they were last taken. */
  rows: Row[] = []
  /** Events that came after their window had closed for good. */
  late = 0

  constructor(startEffect: (effect: number, value: unknown) => void) {
    this.#startEffect = startEffect
  }

  /** No event before this time is expected any more, unix ms; Infinity after the end of the input. */
  get watermarkMs(): number {
    return this.#watermarkMs
  }

  /** Events in memory that no row tells of yet. */
  get open(): number {
    return this.#operators.reduce((sum, operator) => sum + operator.open, 0)
  }

  /** What the program does, as text: a checkpoint of another program must not be loaded. */
  get shape(): string {
    return this.#shape.join(' → ')
  }

  describe(step: string): void {
    this.#shape.push(step)
  }

  add(operator: Stateful): void {
    this.#operators.push(operator)
  }

  /** Something must be done outside for this value; see effects.ts. */
  startEffect(effect: number, value: unknown): void {
    this.#startEffect(effect, value)
  }

  /** An operator has something to do at this watermark. */
  wakeAt(watermarkMs: number): void {
    if (watermarkMs < this.#nextMs) this.#nextMs = watermarkMs
  }

  /** Moves the watermark on, never back. Hot path: for most events this is two comparisons. */
  advance(watermarkMs: number): void {
    if (watermarkMs <= this.#watermarkMs) return
    this.#watermarkMs = watermarkMs
    if (watermarkMs < this.#nextMs) return
    for (const operator of this.#operators) if (operator.nextMs <= watermarkMs) operator.advance(watermarkMs)
    this.#nextMs = Math.min(...this.#operators.map((operator) => operator.nextMs))
  }

  save(): unknown {
    const saved: SavedCircuit = {
      watermarkMs:
        this.#watermarkMs === Number.POSITIVE_INFINITY
          ? 'end'
          : Number.isFinite(this.#watermarkMs)
            ? this.#watermarkMs
            : null,
      late: this.late,
      operators: this.#operators.map((operator) => operator.save()),
    }
    return saved
  }

  restore(state: unknown): void {
    const { watermarkMs, late, operators } = state as SavedCircuit
    if (operators.length !== this.#operators.length) {
      throw failure(
        'STREAM_MISMATCH',
        `the checkpoint holds ${operators.length} operators, the program ${this.#operators.length}`,
      )
    }
    this.#watermarkMs = watermarkMs === 'end' ? Number.POSITIVE_INFINITY : (watermarkMs ?? Number.NEGATIVE_INFINITY)
    this.late = late
    this.#operators.forEach((operator, i) => {
      operator.restore(operators[i])
    })
    this.#nextMs = Math.min(...this.#operators.map((operator) => operator.nextMs))
  }
}
