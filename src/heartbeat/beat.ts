// One heartbeat message: what an instance says of itself, to whoever listens on `beat.<site>.<unit>.<instance>`.
import { type Bus, boundedText, isRecord } from '../bus/internal.ts'
import type { Vitals } from '../unit/internal.ts'

export const beatSubject = (site: string, unit: string, instance: string) => `beat.${site}.${unit}.${instance}`

/**
 * What an instance is doing; `busy`: it gets no work done, because its event loop has not turned for a while or its
 * connection to NATS hears nothing (its check `nats` tells); `left`: it said goodbye.
 */
export type UnitState = 'starting' | 'ready' | 'busy' | 'paused' | 'draining' | 'stopped' | 'failed' | 'left'

/** The state that an instance on this connection tells: one that hears nothing is not ready, whatever its unit says. */
export function stateOn(bus: Bus, state: UnitState): UnitState {
  return state === 'ready' && bus.stale ? 'busy' : state
}

/** What a health check found. */
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

/** Vital signs: the unit's own, and those of the process it runs in. Beats from other languages may tell less. */
export interface BeatVitals extends Vitals {
  /** Work done per second, lately. */
  readonly rate?: number
  /** 99th percentile of how late the event loop was, in ms. */
  readonly loopDelayP99Ms?: number
  /** Share of one core, 0 to 1 and above. */
  readonly cpu?: number
  readonly rssBytes?: number
  readonly heapBytes?: number
}

/** What an instance was made of, so that it can be compared with a composition. Hashes are of 12 letters. */
export interface Origin {
  readonly composition: string
  /** Its module, or the name of a unit without one. */
  readonly use: string
  /** Hash of the module's file when it was loaded. */
  readonly module?: string
  readonly isolation: string
  /** Hash of the configuration it runs, as it was given: before defaults, with references instead of secrets. */
  readonly config: string
  /** Hash of what its composition and flags gave, before desired state. */
  readonly given: string
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
  /** Why it failed, without secrets, in at most 500 bytes. */
  readonly reason?: string
  /** Revision of the desired state it runs; 0: none was ever set. */
  readonly revision: number
  readonly host: string
  readonly pid: number
  /** When this run of the instance began, by its own clock, unix ms: for people to read, never to order beats by. */
  readonly startedAt: number
  /**
   * A random word of whoever sends the beats, another one each time it begins to. Beats are ordered by it and `seq`.
   * Absent in beats from other languages: then `startedAt` stands for it.
   */
  readonly incarnation?: string
  /** When it was sent, by the sender's clock, unix ms. */
  readonly at: number
  /** Counts up from 1 with every beat of an incarnation. */
  readonly seq: number
  /** The promise: the next beat comes within this time, in ms. A watcher needs no configuration of its own. */
  readonly nextMs: number
  /** How long the event loop has been stuck, in ms; with state `busy`. */
  readonly stallMs?: number
  readonly checks: readonly CheckResult[]
  readonly vitals: BeatVitals
  readonly origin?: Origin
  /** Name of the connection that beats, as the server's own advisories call it. */
  readonly connection: string
  /** Tags, checks or reasons were cut or left out: the whole would not have fitted into a message. */
  readonly shortened?: true
}

/** What a watcher reads at most: a beat of our own has 1 kB. */
export const maxBeatBytes = 64 * 1024
/** The shortest and the longest promise that is believed: below, every beat would be late; above, nobody would ever die. */
const shortestMs = 10
const longestMs = 3_600_000

/**
 * Reads a beat, or undefined when it is malformed. What is merely odd in a beat from elsewhere (a vital sign that is no
 * number, a tag that is no text) is left out.
 * Hot path: a watcher of 5,000 instances reads 5,000 a second; checking by hand costs a tenth of a schema.
 */
export function readBeat(data: Uint8Array): Beat | undefined {
  if (data.length > maxBeatBytes) return undefined
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
    Number.isFinite(beat.revision) &&
    Number.isFinite(beat.startedAt) &&
    (beat.incarnation === undefined || typeof beat.incarnation === 'string') &&
    Number.isFinite(beat.seq) &&
    Number.isFinite(beat.nextMs) &&
    beat.nextMs! > 0 &&
    Array.isArray(beat.checks) &&
    beat.checks.every((check) => typeof check?.name === 'string' && typeof check.status === 'string') &&
    (beat.tags === undefined || Array.isArray(beat.tags)) &&
    isRecord(beat.vitals) &&
    Object.values(beat.vitals).every((value) => typeof value !== 'object' || value === null)
  if (!fine) return undefined
  return tidy(beat as Beat)
}

/** The same, where everything is what its type says: what looks at it later need not know who sent it. */
function tidy(beat: { -readonly [Key in keyof Beat]: Beat[Key] }): Beat {
  const vitals = beat.vitals as Record<string, number>
  for (const key in vitals) if (!Number.isFinite(vitals[key])) delete vitals[key] // null is how JSON writes NaN
  if (beat.tags?.some((tag) => typeof tag !== 'string')) beat.tags = beat.tags.filter((tag) => typeof tag === 'string')
  if (beat.checks.some(isOdd)) beat.checks = beat.checks.map(plain)
  if (typeof beat.host !== 'string') beat.host = ''
  if (typeof beat.connection !== 'string') beat.connection = ''
  if (!Number.isFinite(beat.pid)) beat.pid = 0
  if (!Number.isFinite(beat.at)) beat.at = 0
  if (beat.origin !== undefined && !isOrigin(beat.origin)) delete beat.origin
  if (beat.reason !== undefined && typeof beat.reason !== 'string') delete beat.reason
  if (beat.stallMs !== undefined && !Number.isFinite(beat.stallMs)) delete beat.stallMs
  beat.nextMs = Math.min(Math.max(beat.nextMs, shortestMs), longestMs)
  return beat
}

const isOrigin = (origin: unknown) =>
  isRecord(origin) &&
  ['composition', 'use', 'isolation', 'config', 'given'].every((key) => typeof origin[key] === 'string') &&
  (origin.module === undefined || typeof origin.module === 'string')

const isOdd = ({ reason, since }: CheckResult) =>
  (reason !== undefined && typeof reason !== 'string') || !Number.isFinite(since)

const plain = ({ name, kind, status, reason, since }: CheckResult): CheckResult => ({
  name,
  kind,
  status,
  ...(typeof reason === 'string' ? { reason } : {}),
  since: Number.isFinite(since) ? since : 0,
})

const reasonBytes = 100
const mostChecks = 20

/**
 * A beat as JSON text of at most so many bytes: what does not fit is shortened, from what is missed least (long reasons,
 * then tags and checks that are fine) to all of them. The rest is bounded by the names that the instance has.
 */
export function beatText(beat: Beat, maxBytes: number): string {
  const limit = Math.min(maxBytes, maxBeatBytes)
  const fits = (text: string) => text.length * 3 <= limit || Buffer.byteLength(text) <= limit
  const whole = JSON.stringify(beat)
  if (fits(whole)) return whole
  const checks = beat.checks.map((check) =>
    check.reason === undefined ? check : { ...check, reason: boundedText(check.reason, reasonBytes) },
  )
  const worst = checks.filter(({ status }) => status !== 'ok').slice(0, mostChecks)
  const { tags: _, reason: _why, ...untagged } = beat
  for (const shorter of [
    { ...beat, checks },
    { ...untagged, checks: worst },
    { ...untagged, checks: worst.map(({ reason: _reason, ...check }) => check) },
    { ...untagged, checks: worst.slice(0, 1).map(({ reason: _reason, ...check }) => check) },
  ]) {
    const text = JSON.stringify({ ...shorter, shortened: true })
    if (fits(text)) return text
  }
  const { origin: _origin, ...least } = untagged
  return JSON.stringify({ ...least, checks: [], vitals: {}, shortened: true })
}
