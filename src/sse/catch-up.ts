// What a client missed, read from the stream again at the client's own pace.
import { type Bus, MyelinError, readSpan } from '../bus/internal.ts'
import type { SseClient } from './client.ts'
import type { Frame } from './frame.ts'
import type { SseSource } from './source.ts'

export interface Missed {
  readonly source: SseSource
  /** First and last sequence to send. */
  readonly from: number
  readonly until: number
  /** The frame of a message, if this client wants it. */
  readonly frameOf: (message: Parameters<SseSource['toEvent']>[0] & { readonly sequence: number }) => Frame | undefined
}

/** Sends what the stream holds of a range. Resolves with the sequence that comes next. */
export async function sendMissed(bus: Bus, client: SseClient, missed: Missed): Promise<number> {
  const { from, until } = missed
  const { subject, stream = '' } = missed.source
  const gone = new AbortController()
  const forget = client.onGone(() => gone.abort())
  try {
    const span = { from, until, subjects: [subject], maxPending: 500, signal: gone.signal }
    for await (const message of readSpan(bus, stream, span)) {
      const frame = missed.frameOf(message)
      if (frame) client.pushMissed(frame)
      if (client.closed) break
      if (client.congested) await client.room()
    }
    await client.room()
  } catch (error) {
    // the stream was made anew meanwhile: the topic sends its clients a gap
    if (!(error instanceof MyelinError && error.code === 'STREAM_MISMATCH')) throw error
  } finally {
    forget()
  }
  return until + 1
}
