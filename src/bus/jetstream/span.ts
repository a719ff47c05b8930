// Reading what a stream holds now, from one position to another. Unlike a reader it ends: also where the newest messages
// were deleted meanwhile, or nothing fits.
import type { Bus } from '../bus.ts'
import { failure, type MyelinError } from '../errors.ts'
import type { StreamMessage } from './message.ts'
import { consume, type StreamReader } from './reader.ts'
import { nextMessage } from './stored.ts'
import { streamInfo } from './streams.ts'

/** Which part of a stream {@link readSpan} reads. */
export interface SpanOptions {
  /** First sequence. Default: the first that the stream holds. */
  readonly from?: number
  /** Last sequence. Default: the last that the stream holds when the reading begins. */
  readonly until?: number
  /** Only messages of these subjects. */
  readonly subjects?: readonly string[]
  /** Messages here and not yet taken; the bound of memory. Default 256. */
  readonly maxPending?: number
  /**
   * Only the last message of each subject, whatever comes meanwhile: of a stream that keeps one of each, the older is gone
   * when a newer one is stored.
   */
  readonly latest?: boolean
  /** Any replica may say that nothing is left (ADR-31); what was stored in the last moment may then be missing. */
  readonly direct?: boolean
  /** Ends the reading, without an error. */
  readonly signal?: AbortSignal
}

/** A quiet reader looks this often whether there is anything more to come. */
const lookMs = 500

/**
 * What a stream holds of a span, in order. Leaving the loop ends the reading.
 * @throws MyelinError STREAM_MISMATCH when the stream is made anew meanwhile; STREAM_NOT_FOUND, JETSTREAM_DISABLED, PERMISSION_DENIED, DISCONNECTED, DEADLINE_EXCEEDED
 *
 * @example
 * for await (const message of readSpan(bus, 'VIEW_delays')) rows.push(JSON.parse(Buffer.from(message.data).toString()))
 */
export async function* readSpan(
  bus: Bus,
  stream: string,
  options: SpanOptions = {},
): AsyncGenerator<StreamMessage, void, undefined> {
  const { subjects, signal, maxPending = 256, latest = false } = options
  const info = await streamInfo(bus, stream)
  if (!info) throw failure('STREAM_NOT_FOUND', `stream ${stream} does not exist`)
  const until = Math.min(
    options.until ?? Number.POSITIVE_INFINITY,
    latest ? Number.POSITIVE_INFINITY : info.state.last_seq,
  )
  /** The first that is left from a sequence on: by what the stream's leader says, who knows of every deletion. */
  const left = async (from: number): Promise<number | undefined> => {
    if (from > until || signal?.aborted) return undefined
    const next = await Promise.all(
      (subjects ?? ['>']).map((subject) =>
        nextMessage(bus, stream, from, { subject, direct: options.direct ?? false }),
      ),
    )
    const first = Math.min(...next.map((message) => message?.sequence ?? Number.POSITIVE_INFINITY))
    return Number.isFinite(first) && first <= until ? first : undefined
  }
  const first = await left(Math.max(options.from ?? 1, info.state.first_seq))
  if (first === undefined) return

  const buffer: StreamMessage[] = []
  let failed: MyelinError | undefined
  let wake: (() => void) | undefined
  const woken = () => wake?.()
  let reader: StreamReader | undefined
  signal?.addEventListener('abort', woken)
  try {
    reader = await consume(bus, {
      stream,
      ...(subjects === undefined ? {} : { subjects }),
      from: latest ? 'last-per-subject' : { sequence: first },
      maxPending,
      onMessage: (message) => {
        buffer.push(message)
        wake?.()
      },
      onError: (error) => {
        failed = error
        wake?.()
      },
      onGap: ({ reason }) => {
        failed = failure(
          'STREAM_MISMATCH',
          `stream ${stream} ${reason === 'recreated' ? 'was made anew' : 'became shorter'} while it was read; read it again`,
        )
        void reader?.stop()
        wake?.()
      },
    })
    for (let next = first; !signal?.aborted; ) {
      const message = buffer.shift()
      if (message) {
        if (message.sequence > until) return
        yield message
        reader.release()
        next = message.sequence + 1
        if (next > until) return
        if (message.pending > 0 || buffer.length > 0) continue
        if (latest) return // what comes from now on is news
      } else {
        if (failed) throw failed
        const quiet = setTimeout(woken, lookMs)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        clearTimeout(quiet)
        if (buffer.length > 0) continue
      }
      if ((await left(next)) === undefined && buffer.length === 0) return
    }
  } finally {
    signal?.removeEventListener('abort', woken)
    await reader?.stop()
  }
}
