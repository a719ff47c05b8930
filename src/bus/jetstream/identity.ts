// Whether a stream is still the one that was read. One that was removed and made anew, or put back from a backup, counts
// its sequences from another place: a position in the old one means nothing in it, and a reader that waits there waits
// for ever.
import { RetentionPolicy } from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure } from '../errors.ts'
import { nextMessage } from './stored.ts'
import { streamInfo } from './streams.ts'

export interface StreamIdentity {
  /** When it was made, as the server says it; another one is another stream. */
  readonly created: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** It holds only what is not done yet. */
  readonly workQueue: boolean
}

/** A place in a stream as somebody left it. */
export interface StreamPlace {
  /** When the stream was made that it is in; absent: whichever. */
  readonly created?: string | undefined
  /** The last message that was read; 0 for none. */
  readonly sequence: number
  /** When the server stored that message, unix ms. */
  readonly timestampMs?: number | undefined
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
  return { created: String(info.created), firstSequence: first_seq, lastSequence: last_seq, workQueue }
}

/** A leader that was just elected may not yet know of the last messages. */
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
  let identity = await streamIdentity(bus, stream)
  const expected = place.sequence + 1
  const recreated = () => {
    const next = Math.max(1, identity.firstSequence)
    return { identity, gap: { stream, reason: 'recreated' as const, expected, next } }
  }
  const { created = identity.created } = place
  if (identity.created !== created) return recreated()
  if (identity.lastSequence < place.sequence) {
    await new Promise((resolve) => setTimeout(resolve, secondLookMs))
    identity = await streamIdentity(bus, stream)
    if (identity.created !== created) return recreated()
    if (identity.lastSequence < place.sequence) {
      return { identity, gap: { stream, reason: 'shorter', expected, next: identity.lastSequence + 1 } }
    }
  }
  // a backup that was put back and has grown since has another message in that place
  if (place.timestampMs !== undefined && place.sequence >= identity.firstSequence && place.sequence > 0) {
    const there = await nextMessage(bus, stream, place.sequence, { direct: false })
    if (there?.sequence === place.sequence && there.timestampMs !== place.timestampMs) return recreated()
  }
  return { identity }
}
