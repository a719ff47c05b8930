// What a source says of the questions about its values: `enrich` writes it, whoever reads the source asks them.
import type { Bus } from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'

export interface EnrichOptions<T> {
  /** Questions under way at once. Default 64. */
  readonly concurrency?: number
  /** How long one question may take before it is asked again. Default 30,000 ms. */
  readonly timeoutMs?: number
  /** Values with the same key share their answer for a while. `max` answers are kept, 10,000 by default. */
  readonly cache?: { readonly key: (value: T) => string; readonly forMs: number; readonly max?: number }
}

/** @internal */
export interface Enrichment {
  readonly ask: (value: never, host: EnrichHost) => Promise<unknown>
  readonly combine: (value: never, answer: never) => unknown
  readonly options: EnrichOptions<never>
}

export interface EnrichHost {
  readonly bus: Bus
  readonly log: Logger
  /** Aborted when nobody waits for the answer any more: it took too long, or the processor stops. */
  readonly signal: AbortSignal
}
