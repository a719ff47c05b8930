// What a partition is run with, and what is known of it while it runs.
import type { Bus } from '../../bus/internal.ts'
import type { Logger } from '../../unit/internal.ts'
import type { EffectPlan } from '../effects.ts'
import type { Input } from '../input.ts'
import type { Sink } from '../program/index.ts'
import type { Scout } from '../scout.ts'
import type { Source } from '../sources.ts'
import type { View, ViewPart } from '../view.ts'

export interface TaskOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly processor: string
  readonly partition: number
  readonly partitions: number
  readonly input: Input
  readonly sources: readonly Source<unknown>[]
  readonly views: readonly View[]
  /** Where this partition's rows of each view go. */
  readonly outputs: readonly ViewPart[]
  readonly effects: readonly EffectPlan[]
  readonly sinks: readonly Sink[]
  /** What messages do to the clocks that the partitions have in common; absent when there is nothing to share. */
  readonly scout: Scout | undefined
  readonly span?: { readonly fromMs: number; readonly untilMs: number }
  readonly checkpointMs: number
  readonly maxPending: number
  readonly maxKeys?: number
  readonly keysInMemory?: number
  /** Its input has ended, or goes on after an end. */
  readonly onEnd: (ended: boolean) => void
  /** It cannot go on. */
  readonly onFailure: (error: unknown) => void
}
