// Real-time stream processing: durable events in, keyed windows in event time, rows of a view out.
export {
  type Aggregate,
  type AnyAggregate,
  count,
  mean,
  quantile,
  share,
  sum,
} from './aggregates.ts'
export { End, KeyedStream, Rows, Stream, TimedStream, WindowedStream } from './builder.ts'
export { checkpointStream } from './checkpoint.ts'
export { event, job, type Source } from './contracts.ts'
export type { Effect, EffectOutcome } from './effects.ts'
export { endOfInput, isEndOfInput } from './end-of-input.ts'
export { type ProcessorOptions, processor } from './processor.ts'
export { ensureView, type View, view, viewStream, viewSubject } from './view.ts'
export { tumbling, type WindowShape } from './windows.ts'
