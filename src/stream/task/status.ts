// What is known of a partition from outside.
import type { Dataflow } from '../dataflow.ts'
import type { Effects } from '../effects.ts'
import type { Execution } from './execution.ts'
import type { Rejections } from './rejections.ts'
import type { Saving } from './saving.ts'

/** What is known of a partition. */
export interface TaskStatus {
  readonly partition: number
  /** Steps of the program, in order. */
  readonly steps: readonly string[]
  /** Unix ms; null before the first event, 'end' after the last. */
  readonly watermarkMs: number | 'end' | null
  /** Input stored and not yet processed. */
  readonly lag: number
  readonly in: number
  /** Rows written so far, by all instances. */
  readonly out: number
  readonly late: number
  readonly rejected: number
  readonly replayed: number
  readonly position: number
  /** Input up to here is processed, and the rows that came of it are stored. */
  readonly written: number
  /** Its clocks are those of all partitions: it also follows what the others' input does to them. */
  readonly sharedClocks: boolean
  /** Events that are in no row yet, and keys that are remembered. */
  readonly open: number
  readonly keys: number
  readonly effects: number
  readonly effectDuplicates: number
  readonly checkpointBytes: number
  readonly checkpointAgeMs: number
  /** How long the last recovery took. */
  readonly restoreMs: number
  readonly ended: boolean
}

/** Parts of a partition; what has not been opened yet is absent. */
export interface StatusParts {
  readonly dataflow: Dataflow | undefined
  readonly execution: Execution | undefined
  readonly effects: Effects | undefined
  readonly saving: Saving | undefined
  readonly rejections: Rejections
  readonly lag: number
  /** Up to where the other partitions were followed. */
  readonly followed: number
  readonly restoreMs: number
}

export function statusOf(partition: number, parts: StatusParts): TaskStatus {
  const { dataflow, execution, effects, saving } = parts
  const outputs = execution?.outputs
  const watermarkMs = dataflow?.watermarkMs ?? Number.NEGATIVE_INFINITY
  const position = execution?.input ?? 0
  return {
    partition,
    steps: dataflow?.steps ?? [],
    watermarkMs: watermarkMs === Number.POSITIVE_INFINITY ? 'end' : Number.isFinite(watermarkMs) ? watermarkMs : null,
    lag: parts.lag,
    in: execution?.read ?? 0,
    out: outputs?.rows ?? 0,
    late: dataflow?.late ?? 0,
    rejected: parts.rejections.count,
    replayed: outputs?.replayed ?? 0,
    position,
    written: outputs?.written(Math.max(position, parts.followed)) ?? 0,
    sharedClocks: execution?.sharedClocks ?? false,
    open: dataflow?.open ?? 0,
    keys: dataflow?.keys ?? 0,
    effects: effects?.done ?? 0,
    effectDuplicates: effects?.duplicates ?? 0,
    checkpointBytes: saving?.bytes ?? 0,
    checkpointAgeMs: saving?.ageMs ?? 0,
    restoreMs: parts.restoreMs,
    ended: execution?.ended ?? false,
  }
}
