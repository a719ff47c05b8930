// The graph that a program describes: lines, each made of the one before. Nothing happens until a circuit is connected;
// a line that several others follow is built once per circuit.
import type { Circuit, Push } from '../circuit.ts'
import type { EffectPlan } from '../effects.ts'
import type { View } from '../view.ts'

/** What all parts of one program share while it is described. */
export class Plan {
  readonly effects: EffectPlan[] = []
  readonly views: View[] = []
  /** Lines just behind their clocks, and those that have side lines: what moves clocks can be found out from these alone. */
  readonly times: Line<never>[] = []
  readonly branches: Line<never>[] = []
  #steps = 0

  /** A place in the program: what is described later is downstream or beside, never upstream. */
  nextOrder(): number {
    this.#steps += 1
    return this.#steps
  }
}

/** How a line is built in a circuit: `out` gets its values, `follow` connects to the line before. */
export type Build<T, Out> = (circuit: Circuit, out: Push<Out>, follow: (push: Push<T>) => void) => void

/** Reads a key. Written so that rows with more fields are rows with fewer, as they should be. */
export type KeyOf<T> = { of(value: T): string | number }['of']

/** Values of one type on their way through a program. */
export class Line<T> {
  readonly plan: Plan
  /** The sources that it comes from. */
  readonly sources: ReadonlySet<number>
  /**
   * How far its values may be behind the watermark without being late: as long as joins and tables before it wait with
   * what they give out. Undefined while there is no event time.
   */
  readonly behindMs: number | undefined
  readonly #build: (circuit: Circuit, out: Push<T>) => void
  #followers = 0

  constructor(
    plan: Plan,
    sources: ReadonlySet<number>,
    behindMs: number | undefined,
    build: (circuit: Circuit, out: Push<T>) => void,
  ) {
    this.plan = plan
    this.sources = sources
    this.behindMs = behindMs
    this.#build = build
  }

  /** The line that a source, by its number, begins with. */
  static root<T>(plan: Plan, sources: ReadonlySet<number>, at: number): Line<T> {
    return new Line<T>(plan, sources, undefined, (circuit, out) => {
      circuit.inputs(at).push(out as Push<unknown>)
    })
  }

  /** A side line: gets what is pushed into the circuit's inputs of it. */
  aside<Out = T>(): Line<Out> {
    const line: Line<Out> = new Line<Out>(this.plan, this.sources, this.behindMs, (circuit, out) => {
      circuit.inputs(line).push(out as Push<unknown>)
    })
    return line
  }

  /** One more line or end follows; call before anything is connected. */
  follow(): this {
    this.#followers += 1
    return this
  }

  step<Out>(build: Build<T, Out>, behindMs = this.behindMs): Line<Out> {
    this.follow()
    return new Line(this.plan, this.sources, behindMs, (circuit, out) =>
      build(circuit, out, (push) => this.connect(circuit, push)),
    )
  }

  connect(circuit: Circuit, next: Push<T>): void {
    circuit.connect(this, this.#followers, next, (out) => this.#build(circuit, out))
  }
}

/** How far behind the watermark values of several lines may be. */
export function behindOf(...lines: readonly { readonly behindMs: number | undefined }[]): number | undefined {
  const known = lines.flatMap(({ behindMs }) => (behindMs === undefined ? [] : [behindMs]))
  return known.length === 0 ? undefined : Math.max(...known)
}

/** An end of a program: something that is connected when it starts. */
export class End {
  /** @internal */
  readonly connect: (circuit: Circuit) => void
  /** @internal Use `to` of a stream or of rows. */
  constructor(connect: (circuit: Circuit) => void) {
    this.connect = connect
  }
}
