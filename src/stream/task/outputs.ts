// The outputs of a partition as one: rows go out in batches, those of a quiet input without waiting for a full one.
import { type Bus, streamWriter } from '../../bus/internal.ts'
import type { Logger } from '../../unit/internal.ts'
import type { Row } from '../dataflow.ts'
import { Output, type OutputPosition } from '../output.ts'
import type { Place } from '../resume.ts'
import type { View, ViewPart } from '../view.ts'
import { Written } from '../written.ts'

const flushAfterMs = 20

export interface OutputsOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly views: readonly View[]
  readonly parts: readonly ViewPart[]
  readonly from: Place['outputs']
  readonly owner: string
  /** A row that cannot be written. */
  readonly reject: (error: unknown) => void
  /** An output was found full, or its writer failed, while no input came. */
  readonly onFull: () => void
}

export class Outputs {
  readonly each: readonly Output[]
  readonly #reject: (error: unknown) => void
  readonly #onFull: () => void
  readonly #written = new Written()
  #flushTimer: NodeJS.Timeout | undefined

  private constructor(each: readonly Output[], { reject, onFull }: OutputsOptions) {
    this.each = each
    this.#reject = reject
    this.#onFull = onFull
  }

  static async open(options: OutputsOptions): Promise<Outputs> {
    const { bus, log, views, parts, from, owner } = options
    const each: Output[] = []
    for (const [i, part] of parts.entries()) {
      const writer = await streamWriter(bus, part.stream, {
        lastSequence: from[i]!.end,
        onWait: (reason) => log.warn({ code: reason.code }, `${part.stream} waits: ${reason.message}`),
      })
      each.push(new Output(bus, { view: views[i]!, part, writer, owner }, from[i]!))
    }
    return new Outputs(each, options)
  }

  /** Rows written so far, by all instances. */
  get rows(): number {
    return this.each.reduce((sum, { rows }) => sum + rows, 0)
  }
  get replayed(): number {
    return this.each.reduce((sum, { replayed }) => sum + replayed, 0)
  }
  get positions(): OutputPosition[] {
    return this.each.map(({ position }) => position)
  }
  /** Hot path. */
  get hasRoom(): boolean {
    for (const output of this.each) if (!output.hasRoom) return false
    return true
  }

  /** Up to where input is processed with its rows stored. */
  written(processed: number): number {
    return this.#written.look(processed, this.each)
  }

  /** Hot path. @throws MyelinError what made a writer fail */
  add(rows: readonly Row[], traceLines: string): void {
    for (const row of rows) this.each[row.output]!.add(row, this.#reject, row.byTime ? '' : traceLines)
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined
      for (const output of this.each) output.send()
      // a writer that failed meanwhile is noticed even if no input comes any more
      if (!this.hasRoom) this.#onFull()
    }, flushAfterMs)
  }

  /** Resolves when the rows up to positions are stored. */
  async stored(positions: readonly OutputPosition[]): Promise<void> {
    await Promise.all(this.each.map((output, i) => output.stored(positions[i]!)))
  }

  stop(): void {
    clearTimeout(this.#flushTimer)
  }
}
