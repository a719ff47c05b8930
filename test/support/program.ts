// Runs a program that a test writes over events in memory, with checkpoints in between if wanted.
import { Node, Plan, type Sink, Stream } from '../../src/stream/program/index.ts'
import {
  type Ran as DataflowRan,
  type Fed,
  type RunOptions as RunDataflowOptions,
  runDataflow,
} from '../../src/stream/run-dataflow.ts'

export type { Fed }

export interface RunOptions extends RunDataflowOptions {
  readonly sources?: number
}

export interface Ran extends Omit<DataflowRan, 'effects'> {
  readonly effects: unknown[]
}

// biome-ignore lint/suspicious/noExplicitAny: tests know what they feed
type AnyStream = Stream<any>

export function runProgram(
  describe: (...inputs: AnyStream[]) => Sink | readonly Sink[],
  events: readonly Fed[],
  { sources = 1, ...options }: RunOptions = {},
): Ran {
  const plan = new Plan()
  const inputs = Array.from({ length: sources }, (_, i) => new Stream(Node.root(plan, new Set([i]), i)))
  const ran = runDataflow([describe(...inputs)].flat(), events, options)
  return { ...ran, effects: ran.effects.map(({ value }) => value) }
}
