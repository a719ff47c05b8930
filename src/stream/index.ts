// Real-time stream processing: streams in, windows, joins and tables in event time, rows of views out.
export { type Rejection, readRejection } from '../bus/internal.ts'
export { endOfInput, isEndOfInput } from '../contract/internal.ts'
export {
  type Aggregate,
  type AnyAggregate,
  type Collected,
  collect,
  count,
  type DistinctOptions,
  distinct,
  distinctExact,
  type Frequent,
  first,
  last,
  max,
  mean,
  min,
  mostFrequent,
  quantile,
  quantileSketch,
  quantiles,
  reduce,
  type SketchOptions,
  share,
  stddev,
  sum,
  top,
  type VarianceOptions,
  variance,
} from './aggregates/index.ts'
export { checkpointStream } from './checkpoint.ts'
export { declaredProcessor, type Located, locate, type Named, processorKind } from './declared/index.ts'
export type { Effect, EffectOutcome } from './effects.ts'
export { enrich } from './enrich.ts'
export type { EnrichOptions } from './enrichment.ts'
export { inputStream, partitionOf } from './input.ts'
export { type Inspection, inspectProcessor, inspectSubject, type PartitionStatus } from './inspect.ts'
export { type ProcessedOptions, processed, type StreamPosition } from './processed.ts'
export { type ProcessorOptions, processor } from './processor.ts'
export {
  type Change,
  type KeyedRow,
  KeyedStream,
  Rows,
  Sink,
  Stream,
  Table,
  type TimeOptions,
  type Timing,
  WindowedStream,
} from './program/index.ts'
export { readView, type ViewChanges, type ViewReader, type ViewRow } from './read-view.ts'
export { errorStream } from './rejected.ts'
export {
  type ReplayedStream,
  type ReplayOptions,
  type ReplayOutcome,
  type ReplayProgress,
  removeReplay,
  replay,
  replayedStreams,
} from './replay.ts'
export { type ProgramEffect, type ProgramResult, type RunProgramOptions, runProgram } from './run-program.ts'
export { bucket, job, objects, publish } from './sinks.ts'
export { event, messages, rowsOf, type Source, type TableSource, table } from './sources.ts'
export type { TaskStatus } from './task/status.ts'
export { ensureView, type View, view, viewStream, viewSubject } from './view.ts'
export { calendar, counted, hopping, session, sliding, tumbling, type WindowShape } from './windows/index.ts'
