// What passes through a dataflow, and what remembers something on the way.

/** Takes a value with its time (unix ms; when the server stored it, until `.time()` says when it happened). */
export type Push<T> = (value: T, timeMs: number) => void

/** One thing that an operator remembers, plain JSON; what it means is the operator's own. */
export type StateRecord = readonly unknown[]

/** An operator whose memory belongs into checkpoints. */
export interface Operator {
  /** The watermark from which on `advance` must be called. */
  readonly nextMs: number
  /** Events it holds that are in no row yet. */
  readonly open: number
  /** Keys it remembers something about. */
  readonly keys: number
  /** No event before the watermark is expected any more. */
  advance(watermarkMs: number): void
  /** Everything it remembers, or only what changed since it was last asked; a later record replaces an earlier one. */
  save(everything: boolean): Iterable<StateRecord>
  restore(record: StateRecord): void
  /** All records are in. */
  restored(): void
}

/** A row on its way out. */
export interface Row {
  /** Which of the program's outputs it goes to. */
  readonly output: number
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
  /** Let out by time, and not by the present message alone. */
  readonly byTime: boolean
}
