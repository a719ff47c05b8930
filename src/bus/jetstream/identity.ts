// Whether a stream is still the one that was read. One that was removed and made anew, or put back from a backup, counts
// its sequences from another place: a position in the old one means nothing in it, and a reader that waits there waits
// for ever.
import { RetentionPolicy } from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure, hasCode } from '../errors.ts'
import { nextMessage } from './stored.ts'
import { streamInfo } from './streams.ts'

export interface StreamIdentity {
  /** When it was made, as the server says it; another one is another stream. */
  readonly created: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** It holds only what is not done yet. */
  readonly workQueue: boolean
  /** Several servers keep it: one that has just become its leader may not yet know of the last messages. */
  readonly replicated: boolean
}

/** A place in a stream as somebody left it. */
export interface StreamPlace {
  /** When the stream was made that it is in; absent: whichever. */
  readonly created?: string | undefined
  /** The last message that was read; 0 for none. */
  readonly sequence: number
  /** When the server stored that message, unix ms. */
  readonly timestampMs?: number | undefined
  /** A later one that the server has handed out, to whomever. */
  readonly delivered?: number
}

/** A stream is not what it was: what lies between two positions cannot be read, or never was. */
export interface StreamGap {
  readonly stream: string
  /** `recreated`: it was made anew. `shorter`: it ends before what was read, as after a restored backup or a damaged file. */
  readonly reason: 'recreated' | 'shorter'
  /** The sequence that would have come next. */
  readonly expected: number
  /** Where its reader goes on. */
  readonly next: number
}

/** @throws MyelinError STREAM_NOT_FOUND, JETSTREAM_DISABLED, DEADLINE_EXCEEDED */
export async function streamIdentity(bus: Bus, stream: string): Promise<StreamIdentity> {
  const info = await streamInfo(bus, stream)
  if (!info) throw failure('STREAM_NOT_FOUND', `stream ${stream} does not exist`)
  const { first_seq, last_seq } = info.state
  const workQueue = info.config.retention === RetentionPolicy.Workqueue
  const replicated = (info.cluster?.replicas?.length ?? 0) > 0
  return { created: String(info.created), firstSequence: first_seq, lastSequence: last_seq, workQueue, replicated }
}

const secondLookMs = 500

/**
 * Whether a stream still holds the place that somebody left, with what it is now; `gap` says how it does not.
 * @throws MyelinError STREAM_NOT_FOUND, JETSTREAM_DISABLED, DEADLINE_EXCEEDED
 */
export async function compareStream(
  bus: Bus,
  stream: string,
  place: StreamPlace,
): Promise<{ readonly identity: StreamIdentity; readonly gap?: StreamGap }> {
  const identity = await streamIdentity(bus, stream)
  const most = Math.max(place.sequence, place.delivered ?? 0)
  const expected = most + 1
  const { created = identity.created } = place
  const recreated = (now: StreamIdentity) => {
    const next = Math.max(1, now.firstSequence)
    return { identity: now, gap: { stream, reason: 'recreated' as const, expected, next } }
  }
  if (identity.created !== created) return recreated(identity)
  if (identity.lastSequence < most) {
    const gap = { stream, reason: 'shorter' as const, expected, next: identity.lastSequence + 1 }
    if (!identity.replicated) return { identity, gap }
    await new Promise((resolve) => setTimeout(resolve, secondLookMs))
    const later = await streamIdentity(bus, stream)
    if (later.created !== created) return recreated(later)
    // it may also have grown meanwhile
    const caughtUp = later.lastSequence >= most && !(await replaced(bus, stream, place, later))
    return caughtUp ? { identity: later } : { identity: later, gap }
  }
  return (await replaced(bus, stream, place, identity)) ? recreated(identity) : { identity }
}

/** Whether another message is in that place: a backup that was put back and has grown since. */
async function replaced(
  bus: Bus,
  stream: string,
  { sequence, timestampMs }: StreamPlace,
  { firstSequence, lastSequence }: StreamIdentity,
): Promise<boolean> {
  if (timestampMs === undefined || !(sequence >= firstSequence) || sequence < 1 || sequence > lastSequence) return false
  const there = await nextMessage(bus, stream, sequence, { direct: false }).catch((error) => {
    // who may follow a stream need not be allowed to pick messages out of it
    if (hasCode(error, 'PERMISSION_DENIED')) return undefined
    throw error
  })
  return there?.sequence === sequence && there.timestampMs !== timestampMs
}
