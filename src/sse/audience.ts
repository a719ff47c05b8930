// The clients of a stream that want the same of it: the same keys, filter, thinning and compression. Each event is
// looked at once and each batch is encoded once for all of them; what remains per client is one write.

import { timerMs } from '../bus/internal.ts'
import type { Segment, SseClient } from './client.ts'
import type { Filter } from './filter.ts'
import type { Frame } from './frame.ts'
import { GzipChain } from './gzip.ts'

/** What a client wants of a stream. Clients whose `id` is the same share an audience. */
export interface Selection {
  readonly id: string
  /** Only these keys; absent: all. */
  readonly keys: readonly string[] | undefined
  readonly filter: Filter | undefined
  /** Collect for so long and send the latest of each key; 0: at once. */
  readonly everyMs: number
  readonly gzip: boolean
}

const comment = Buffer.from(':\n\n')

export class Audience {
  readonly selection: Selection
  readonly clients = new Set<SseClient>()
  readonly #chain: GzipChain | undefined
  #pending: Frame[] = []
  /** With `everyMs`: the latest of each key since the last batch. */
  readonly #latest = new Map<string, Frame>()
  #timer: NodeJS.Timeout | undefined
  #snapshot: { readonly version: number; readonly bytes: Buffer; readonly frames: number } | undefined
  #quiet = true

  constructor(selection: Selection) {
    this.selection = selection
    this.#chain = selection.gzip ? new GzipChain() : undefined
  }

  add(client: SseClient, after: number): void {
    client.join(after)
    client.onOwnWay = this.#restart
    this.#restart()
    this.clients.add(client)
  }

  readonly #restart = () => this.#chain?.restart()

  /** Takes a frame for the next batch. True when that should go out in this turn of the event loop. */
  take(frame: Frame): boolean {
    const { filter, everyMs } = this.selection
    if (filter && !frame.deleted && !filter(frame.payload)) return false
    if (everyMs > 0) {
      this.#latest.delete(frame.row) // set anew, so that the map's order is the order of sequences
      this.#latest.set(frame.row, frame)
      this.#timer ??= setTimeout(() => this.#thinned(), timerMs(everyMs))
      return false
    }
    this.#pending.push(frame)
    return this.#pending.length === 1
  }

  /** Hot path: 5,000 clients are 5,000 system calls here, whatever the number of frames in the batch. */
  flush(): void {
    if (this.#pending.length === 0) return
    const frames = this.#pending
    this.#pending = []
    this.#quiet = false
    const bytes = frames.length === 1 ? frames[0]!.bytes : Buffer.concat(frames.map((frame) => frame.bytes))
    const segment: Segment = { frames, first: frames[0]!.sequence, bytes: this.#chain?.next(bytes) ?? bytes }
    for (const client of this.clients) client.deliver(segment)
  }

  #thinned(): void {
    this.#timer = undefined
    this.#pending = [...this.#latest.values()]
    this.#latest.clear()
    this.flush()
  }

  /** Sends the rows there are now; many clients that join at one version of them share the bytes. */
  sendSnapshot(client: SseClient, version: number, rows: Iterable<Frame>): void {
    if (this.#snapshot?.version !== version) {
      const { keys, filter, gzip } = this.selection
      const wanted = [...rows].filter((frame) => {
        if (keys && !keys.includes(frame.key)) return false
        const fits = !filter || filter(frame.payload)
        frame.forgetPayload()
        return fits
      })
      const bytes = Buffer.concat(wanted.map((frame) => frame.bytes))
      this.#snapshot = { version, bytes: gzip ? new GzipChain().next(bytes) : bytes, frames: wanted.length }
      // of use while many come at once; a large table should not be here twice for ever
      setImmediate(() => {
        this.#snapshot = undefined
      })
    }
    if (this.#snapshot.frames > 0) client.raw(this.#snapshot.bytes, this.#snapshot.frames)
  }

  /** A comment on a connection that was quiet: browsers ignore it, proxies see that it lives. */
  heartbeat(): void {
    if (this.#quiet) {
      const bytes = this.#chain?.next(comment) ?? comment
      for (const client of this.clients) client.raw(bytes)
    }
    this.#quiet = true
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#pending = []
    this.#latest.clear()
  }
}
