// What all kinds of windows have in common.
import type { Push } from '../dataflow.ts'
import type { Aggregation, States } from './aggregation.ts'

/** When rows go out: when their window is over; at every event; or at times before, every so often in event time. */
export type Emission = 'close' | 'update' | { readonly earlyMs: number }

/** What happens with a window's result; never throws. `final`: no event was missing as far as the watermark says. */
export type EmitWindow = (key: string, startMs: number, endMs: number, states: States, final: boolean) => void

export interface WindowPlan<T> {
  /** The operator's place in the program. */
  readonly order: number
  readonly latenessMs: number
  readonly aggregation: Aggregation<T>
  readonly emission: Emission
  readonly emit: EmitWindow
  /** Takes events that came too late for their window. */
  readonly late: Push<T> | undefined
}

/** An operator that is fed with keyed events. */
export interface WindowOperator<T> {
  push(key: string, value: T, timeMs: number): void
}
