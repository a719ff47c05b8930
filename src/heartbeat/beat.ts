// One heartbeat message: what an instance says of itself, to whoever listens on `beat.<site>.<unit>.<instance>`.
import type { Vitals } from '../unit/index.ts'

export const beatSubject = (site: string, unit: string, instance: string) => `beat.${site}.${unit}.${instance}`

/** What an instance is doing; `busy`: its event loop has not turned for a while; `left`: it said goodbye. */
export type UnitState = 'starting' | 'ready' | 'busy' | 'paused' | 'draining' | 'stopped' | 'failed' | 'left'

export type CheckStatus = 'ok' | 'degraded' | 'failed'

/** The answer of one health check. */
export interface CheckResult {
  readonly name: string
  readonly kind: 'liveness' | 'readiness'
  readonly status: CheckStatus
  readonly reason?: string
  /** When it became so, unix ms. */
  readonly since: number
}

/** Vital signs: the unit's own, and those of the process it runs in. */
export interface BeatVitals extends Vitals {
  /** Work done per second, lately. */
  readonly rate?: number
  /** 99th percentile of how late the event loop was, in ms. */
  readonly loopDelayP99Ms: number
  /** Share of one core, 0 to 1 and above. */
  readonly cpu: number
  readonly rssBytes: number
  readonly heapBytes: number
}

/** A beat as it travels, JSON. */
export interface Beat {
  readonly site: string
  readonly unit: string
  readonly instance: string
  readonly kind: string
  readonly version: string
  /** Words that the composition gave it. */
  readonly tags?: readonly string[]
  readonly state: UnitState
  /** Revision of the desired state it runs; 0: none was ever set. */
  readonly revision: number
  readonly host: string
  readonly pid: number
  /** Unix ms. */
  readonly startedAt: number
  /** When it was sent, by the sender's clock, unix ms. */
  readonly at: number
  /** Counts up from 1. */
  readonly seq: number
  /** The promise: the next beat comes within this time, in ms. A watcher needs no configuration of its own. */
  readonly nextMs: number
  /** How long the event loop has been stuck, in ms; with state `busy`. */
  readonly stallMs?: number
  readonly checks: readonly CheckResult[]
  readonly vitals: BeatVitals
  /** Name of the connection that beats, as the server's own advisories call it. */
  readonly connection: string
}

/**
 * Reads a beat, or undefined when it is malformed.
 * Hot path: a watcher of 5,000 instances reads 5,000 a second; checking by hand costs a tenth of a schema.
 */
export function readBeat(data: Uint8Array): Beat | undefined {
  let beat: Partial<Beat>
  try {
    beat = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch {
    return undefined
  }
  const fine =
    typeof beat === 'object' &&
    beat !== null &&
    typeof beat.site === 'string' &&
    typeof beat.unit === 'string' &&
    typeof beat.instance === 'string' &&
    typeof beat.state === 'string' &&
    typeof beat.kind === 'string' &&
    typeof beat.version === 'string' &&
    typeof beat.revision === 'number' &&
    typeof beat.startedAt === 'number' &&
    typeof beat.seq === 'number' &&
    typeof beat.nextMs === 'number' &&
    beat.nextMs > 0 &&
    Array.isArray(beat.checks) &&
    beat.checks.every((check) => typeof check?.name === 'string' && typeof check.status === 'string') &&
    (beat.tags === undefined || Array.isArray(beat.tags)) &&
    typeof beat.vitals === 'object' &&
    beat.vitals !== null &&
    Object.values(beat.vitals).every((value) => typeof value === 'number')
  return fine ? (beat as Beat) : undefined
}
