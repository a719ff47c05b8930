// What a client missed, read from the stream again at the client's own pace.
import { type Bus, nextMessage, readStream } from '../bus/index.ts'
import type { SseClient } from './client.ts'
import type { Frame } from './frame.ts'
import type { SseSource } from './source.ts'

export interface Missed {
  readonly source: SseSource
  /** First and last sequence to send. */
  readonly from: number
  readonly until: number
  /** The frame of a message, if this client wants it. */
  readonly frameOf: (message: Parameters<SseSource['tell']>[0] & { readonly sequence: number }) => Frame | undefined
}

/** Sends what the stream holds of a range. Resolves with the sequence that comes next. */
export async function sendMissed(bus: Bus, client: SseClient, missed: Missed): Promise<number> {
  const { from, until } = missed
  const { subject, stream = '' } = missed.source
  // a reader would wait for a message that never comes
  const first = await nextMessage(bus, stream, from, { subject })
  if (!first || first.sequence > until) return until + 1
  const done = Promise.withResolvers<void>()
  let next = first.sequence
  const reader = await readStream(bus, {
    stream,
    subjects: [subject],
    from: { sequence: first.sequence },
    maxPending: 500,
    onMessage: (message) => {
      if (message.sequence > until) {
        done.resolve()
        return
      }
      next = message.sequence + 1
      const frame = missed.frameOf(message)
      if (frame) client.pushMissed(frame)
      if (client.closed || message.sequence >= until || message.pending === 0) done.resolve()
      else if (client.congested) void client.room().then(() => reader.release())
      else reader.release()
    },
    onError: (error) => done.reject(error),
  })
  const forget = client.onGone(done.resolve)
  try {
    await done.promise
    await client.room()
  } finally {
    forget()
    await reader.stop()
  }
  return Math.max(next, until + 1)
}
