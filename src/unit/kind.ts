// Kinds of units that need no module: a composition names one and says in its configuration what it does. A kind is a
// spec; the list of kinds, `myelin list`, the schema of compositions and docs/reference/units.md are made from it.
import type { Unit } from './unit.ts'

/** What a unit uses on the bus; `*` and `>` as in subjects and `*` in names. For permissions and for readers. */
export interface Access {
  readonly publishes: readonly string[]
  readonly subscribes: readonly string[]
  /** What it makes, changes and writes. */
  readonly owns: Stored
  /** What belongs to others. */
  readonly reads: Stored
}

/** Streams and buckets by name, and durable consumers as `<stream>/<consumer>`. */
export interface Stored {
  readonly streams: readonly string[]
  readonly buckets: readonly string[]
  readonly consumers: readonly string[]
}

/** A kind of unit, as data. */
export interface UnitKind<Config = unknown> {
  /** As `use` of a composition names it. */
  readonly use: `myelin:${string}`
  /** What it does, in a sentence. */
  readonly summary: string
  /** What it promises, in a sentence. */
  readonly guarantee: string
  /** A unit of it in a composition, YAML: its name and what belongs to it. */
  readonly example: string
  readonly unit: Unit<Config>
  /** What a unit with this configuration, parsed by the unit's schema, uses on the bus. */
  readonly access: (config: Config, where: { readonly unit: string; readonly site: string }) => Access
}

/** Nothing stored. */
export const nothingStored: Stored = { streams: [], buckets: [], consumers: [] }

/**
 * Defines a kind of unit.
 * @example
 * export const tickerKind = defineKind({
 *   use: 'myelin:ticker',
 *   summary: 'Publishes a tick every so often.',
 *   guarantee: 'At most once a tick.',
 *   example: 'clock: { use: myelin:ticker, config: { every: 1s } }',
 *   unit: ticker,
 *   access: () => ({ publishes: ['tick'], subscribes: [], owns: nothingStored, reads: nothingStored }),
 * })
 */
export function defineKind<Config>(kind: UnitKind<Config>): UnitKind {
  return kind as unknown as UnitKind
}
