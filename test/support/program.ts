// Runs a program that a test writes over events in memory, with checkpoints in between if wanted.
import { type End, Line, Plan, Stream } from '../../src/stream/program/index.ts'
import { type Fed, type Ran as RanEnds, type RunOptions as RunEndsOptions, runEnds } from '../../src/stream/run-ends.ts'

export type { Fed }

export interface RunOptions extends RunEndsOptions {
  readonly sources?: number
}

export interface Ran extends Omit<RanEnds, 'effects'> {
  readonly effects: unknown[]
}

// biome-ignore lint/suspicious/noExplicitAny: tests know what they feed
type AnyStream = Stream<any>

export function runProgram(
  describe: (...inputs: AnyStream[]) => End | readonly End[],
  events: readonly Fed[],
  { sources = 1, ...options }: RunOptions = {},
): Ran {
  const plan = new Plan()
  const inputs = Array.from({ length: sources }, (_, i) => new Stream(Line.root(plan, new Set([i]), i)))
  const ran = runEnds([describe(...inputs)].flat(), events, options)
  return { ...ran, effects: ran.effects.map(({ value }) => value) }
}
