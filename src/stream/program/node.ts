// The graph that a program describes: nodes, each fed by the one before. Nothing happens until a dataflow is connected;
// a node that several others follow is built once per dataflow.
import type { Dataflow, Push } from '../dataflow.ts'
import type { EffectPlan } from '../effects.ts'
import type { View } from '../view.ts'

/** What all parts of one program share while it is described. */
export class Plan {
  readonly effects: EffectPlan[] = []
  readonly views: View[] = []
  /** Nodes just behind their clocks, and those that have side outputs: what moves clocks can be found out from these alone. */
  readonly times: Node<never>[] = []
  readonly branches: Node<never>[] = []
  #steps = 0

  /** A place in the program: what is described later is downstream or beside, never upstream. */
  nextOrder(): number {
    this.#steps += 1
    return this.#steps
  }
}

/** How a node is built in a dataflow: `out` takes its values, `follow` connects to the node before. */
export type Build<T, Out> = (dataflow: Dataflow, out: Push<Out>, follow: (push: Push<T>) => void) => void

/** Reads a key. Written so that rows with more fields are rows with fewer, as they should be. */
export type KeyOf<T> = { of(value: T): string | number }['of']

/** Values of one type on their way through a program. */
export class Node<T> {
  readonly plan: Plan
  /** The sources that it comes from. */
  readonly sources: ReadonlySet<number>
  /**
   * How far its values may be behind the watermark without being late: as long as joins and tables before it wait with
   * what they give out. Undefined while there is no event time.
   */
  readonly behindMs: number | undefined
  readonly #build: (dataflow: Dataflow, out: Push<T>) => void
  #followers = 0

  constructor(
    plan: Plan,
    sources: ReadonlySet<number>,
    behindMs: number | undefined,
    build: (dataflow: Dataflow, out: Push<T>) => void,
  ) {
    this.plan = plan
    this.sources = sources
    this.behindMs = behindMs
    this.#build = build
  }

  /** The node that a source, by its number, begins with. */
  static root<T>(plan: Plan, sources: ReadonlySet<number>, at: number): Node<T> {
    return new Node<T>(plan, sources, undefined, (dataflow, out) => {
      dataflow.inputs(at).push(out as Push<unknown>)
    })
  }

  /** A side output: gets what is pushed into the dataflow's inputs of it. */
  sideOutput<Out = T>(): Node<Out> {
    const node: Node<Out> = new Node<Out>(this.plan, this.sources, this.behindMs, (dataflow, out) => {
      dataflow.inputs(node).push(out as Push<unknown>)
    })
    return node
  }

  /** One more node or sink follows; call before anything is connected. */
  follow(): this {
    this.#followers += 1
    return this
  }

  step<Out>(build: Build<T, Out>, behindMs = this.behindMs): Node<Out> {
    this.follow()
    return new Node(this.plan, this.sources, behindMs, (dataflow, out) =>
      build(dataflow, out, (push) => this.connect(dataflow, push)),
    )
  }

  connect(dataflow: Dataflow, next: Push<T>): void {
    dataflow.connect(this, this.#followers, next, (out) => this.#build(dataflow, out))
  }
}

/** How far behind the watermark values of several nodes may be. */
export function behindOf(...nodes: readonly { readonly behindMs: number | undefined }[]): number | undefined {
  const known = nodes.flatMap(({ behindMs }) => (behindMs === undefined ? [] : [behindMs]))
  return known.length === 0 ? undefined : Math.max(...known)
}

/** A sink of a program: something that is connected when it starts. */
export class Sink {
  /** @internal */
  readonly connect: (dataflow: Dataflow) => void
  /** @internal Use `to` of a stream or of rows. */
  constructor(connect: (dataflow: Dataflow) => void) {
    this.connect = connect
  }
}
