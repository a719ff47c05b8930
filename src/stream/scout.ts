// What a message does to a program's clocks, found before its turn comes: the partitions of a processor share one
// watermark, so each tells the others of its clocks ahead of what it does with the message itself.
import { Dataflow } from './dataflow.ts'
import type { Node, Plan } from './program/index.ts'

/** A clock has reached a time. */
export interface Tick {
  /** Of the message, in the processor's input. */
  readonly sequence: number
  /** The clock's place in the program. */
  readonly clock: number
  readonly ms: number
  /** When the server stored the message, unix ms. */
  readonly storedMs: number
}

/** Only the steps before clocks, without their effects. */
class Clocks extends Dataflow {
  override readonly scouting = true
  remembers = false
  ticks: Tick[] = []
  sequence = 0

  override clock(_sources: ReadonlySet<number>, _idleMs: number, order: number): number {
    return order
  }
  override tick(clock: number, ms: number): void {
    // of several values of one message the latest is what counts for the others
    const at = this.ticks.findIndex((tick) => tick.clock === clock)
    if (at < 0) this.ticks.push({ sequence: this.sequence, clock, ms, storedMs: this.storedMs })
    else if (this.ticks[at]!.ms < ms) this.ticks[at] = { ...this.ticks[at]!, ms }
  }
  override add(): void {
    this.remembers = true
  }
}

export class Scout {
  readonly #dataflow: Clocks

  private constructor(dataflow: Clocks) {
    this.#dataflow = dataflow
  }

  /** Undefined when there is no clock that could be announced. */
  static of({ times, branches }: Plan): Scout | undefined {
    const clocks = times.filter(stateless)
    if (clocks.length === 0) return undefined
    const dataflow = made()
    for (const node of [...clocks, ...branches.filter(stateless)]) node.connect(dataflow, () => undefined)
    return new Scout(dataflow)
  }

  /** A value that cannot be used has moved those clocks that it came to before that. */
  ticksOf(sequence: number, source: number, value: unknown, storedMs: number): Tick[] {
    const dataflow = this.#dataflow
    dataflow.sequence = sequence
    dataflow.ticks = []
    try {
      dataflow.feed(source, value, storedMs)
    } catch {
      // it is rejected when its turn comes
    }
    return dataflow.ticks
  }
}

const made = () => new Clocks({ startEffect: () => undefined, reject: () => undefined })

/** A clock behind something that remembers cannot be known before that has had its turn: it stays the partition's own. */
function stateless(node: Node<never>): boolean {
  const dataflow = made()
  node.connect(dataflow, () => undefined)
  return !dataflow.remembers
}
