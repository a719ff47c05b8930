// When checkpoints are made: state and positions are taken down at once, storing them takes its time beside the work.
import type { Checkpoints } from '../checkpoint.ts'
import type { Dataflow } from '../dataflow.ts'
import type { OutputPosition } from '../output.ts'

/** What a partition has come to. */
export interface Progress {
  readonly input: number
  readonly inputMs: number
  readonly outputs: readonly OutputPosition[]
  rejected: number
  readonly ended: boolean
  readonly endedSources: readonly number[]
}

export interface SavingOptions {
  readonly checkpoints: Checkpoints
  readonly dataflow: Dataflow
  /** What the last checkpoint covers; -1: there is none. */
  readonly savedInput: number
  readonly progress: () => Progress
  /** Resolves when rows and effects of all that are stored and done: a checkpoint never claims more than there is. */
  readonly settled: (progress: Progress) => Promise<void>
  readonly onSaved: (progress: Progress) => unknown
  readonly onFailure: (error: unknown) => void
}

export class Saving {
  readonly #options: SavingOptions
  #savedInput: number
  #savedAt = performance.now()
  #underWay: Promise<void> | undefined
  #due = false

  constructor(options: SavingOptions) {
    this.#options = options
    this.#savedInput = options.savedInput
  }

  /** Hot path: whether the work must pause to take one down. */
  get isNext(): boolean {
    return this.#due && this.#underWay === undefined
  }
  /** Of the last checkpoint. */
  get ageMs(): number {
    return Math.round(performance.now() - this.#savedAt)
  }
  get bytes(): number {
    return this.#options.checkpoints.lastBytes
  }
  get lowWatermark(): number {
    return this.#options.checkpoints.lowWatermark
  }

  /** A checkpoint is to be made as soon as none is under way. */
  ask(): void {
    this.#due = true
  }

  /** Takes the state down and goes on; storing it takes its time beside. */
  begin(input: number): void {
    this.#due = false
    if (input === this.#savedInput) return
    this.#underWay = this.save()
      .catch((error) => this.#options.onFailure(error))
      .finally(() => {
        this.#underWay = undefined
      })
  }

  /** Rows stored and effects done first, then the checkpoint. */
  async save(): Promise<void> {
    const { checkpoints, dataflow, settled, onSaved } = this.#options
    const progress = this.#options.progress()
    const pending = checkpoints.take(progress, dataflow)
    await settled(progress)
    await checkpoints.store(pending)
    this.#savedInput = progress.input
    this.#savedAt = performance.now()
    onSaved(progress)
  }

  /** Resolves when none is under way. */
  async finished(): Promise<void> {
    await this.#underWay
  }
}
