// One connected browser: a bounded buffer between what arrives for all and what this one socket takes, so that a slow
// phone never slows the rest and never fills the memory.
import type { Writable } from 'node:stream'
import type { Counters } from './counters.ts'
import type { Frame } from './frame.ts'
import { gzipSegment } from './gzip.ts'

/**
 * What happens when a client does not keep up: `coalesce-by-key` keeps the latest of each key (views, tables),
 * `disconnect` ends the connection, which a browser resumes from its last event (events that are kept), `drop-oldest`
 * leaves out (events that are not).
 */
export type SlowClientPolicy = 'coalesce-by-key' | 'disconnect' | 'drop-oldest'

export interface ClientOptions {
  readonly policy: SlowClientPolicy
  /** Frames waiting at most; `coalesce-by-key` holds one per key. */
  readonly maxBuffered: number
  /** Bytes waiting at most, whatever the policy. */
  readonly maxBufferedBytes: number
  readonly gzip: boolean
}

/** What an audience sends to all its clients at once. */
export interface Segment {
  readonly frames: readonly Frame[]
  /** Sequence of its first frame. */
  readonly first: number
  /** The frames as they go over the wire, compressed where the audience is. */
  readonly bytes: Buffer
}

/** What is written at once to one client that catches up. */
const chunkBytes = 256 * 1024
/** How long a connection that was ended has for what is still on its way. */
const lastWordsMs = 2_000
const nothing = { frames: 0, bytes: 0 } as const

export class SseClient {
  readonly #sink: Writable
  readonly #options: ClientOptions
  readonly #counters: Counters
  readonly #onClose: () => void
  /** Called when the client was sent something of its own, so that it does not know what the others know. */
  onOwnWay: (() => void) | undefined
  #after = -1
  #waiting: Frame[] = []
  #waitingBytes = 0
  /** How much of what waits it missed while it was away: that does not count as slowness. */
  #missed: { readonly frames: number; readonly bytes: number } = nothing
  #latest: Map<string, Frame> | undefined
  #congested = false
  #congestedSince = 0
  /** Something that all got was left out here. */
  #outOfStep = false
  #scheduled = false
  #closed = false

  constructor(sink: Writable, options: ClientOptions, counters: Counters, onClose: () => void) {
    this.#sink = sink
    this.#options = options
    this.#counters = counters
    this.#onClose = onClose
    const gone = () => this.#gone()
    sink.on('close', gone)
    sink.on('error', gone)
    sink.on('drain', () => {
      this.#congested = false
      if (this.#outOfStep) this.onOwnWay?.()
      this.#outOfStep = false
      this.#flush()
    })
  }

  get closed(): boolean {
    return this.#closed
  }
  /** Whether the socket has more than it can send now. */
  get congested(): boolean {
    return this.#congested
  }

  /** Hot path: for a client that keeps up this is one write of bytes that all share. */
  deliver(segment: Segment): void {
    if (this.#congested || this.#waiting.length > 0 || segment.first <= this.#after) this.#hold(segment.frames)
    else this.#write(segment.bytes, segment.frames.length)
  }

  /** What a client that came back has missed: all of it, at the client's own pace. The caller bounds how much waits. */
  pushMissed(frame: Frame): void {
    if (this.#closed) return
    this.#waiting.push(frame)
    this.#waitingBytes += frame.bytes.length
    if (this.#scheduled || this.#congested) return
    this.#scheduled = true // what comes in one turn of the event loop goes out together
    setImmediate(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  /** From here on it gets what all get; `after` is the last sequence that it has, or -1. */
  join(after: number): void {
    this.#after = after
    this.#missed = { frames: this.#waiting.length, bytes: this.#waitingBytes }
  }

  /** The stream counts from another place: what it has of the one before says nothing of what comes. */
  rejoin(after: number): void {
    this.#after = after
  }

  /** Bytes that only this client gets, or that all get and that carry no event. */
  raw(bytes: Buffer, frames = 0): void {
    if (this.#congested) this.#outOfStep = true
    else if (!this.#closed) this.#write(bytes, frames)
  }

  /** Text that only this client gets: a gap, a farewell. */
  say(text: string): void {
    this.#flush()
    this.raw(this.#encode(Buffer.from(text)))
    this.onOwnWay?.()
  }

  /** Resolves when the socket has room, or is gone. */
  async room(): Promise<void> {
    while (this.#congested && !this.#closed) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#sink.off('drain', done)
          this.#sink.off('close', done)
          resolve()
        }
        this.#sink.once('drain', done)
        this.#sink.once('close', done)
      })
    }
  }

  /** Calls back when the connection is gone; the result takes that back. */
  onGone(callback: () => void): () => void {
    this.#sink.once('close', callback)
    return () => this.#sink.off('close', callback)
  }

  /** How long its socket has taken nothing, in ms; `now` by `performance.now()`. */
  stuckMs(now: number): number {
    return this.#congested ? now - this.#congestedSince : 0
  }

  /** Ends the connection after what was written; a peer that does not read it is not waited for. */
  end(): void {
    if (this.#closed) return
    this.#sink.end()
    const timer = setTimeout(() => this.#sink.destroy(), lastWordsMs)
    this.#sink.once('close', () => clearTimeout(timer))
    this.#gone()
  }

  /** Cuts the connection of a client that does not keep up. What it has not read is not waited for. */
  disconnect(): void {
    if (this.#closed) return
    this.#counters.slow += 1
    this.#sink.destroy()
    this.#gone()
  }

  #hold(frames: readonly Frame[]): void {
    if (this.#closed) return
    for (const frame of frames) {
      if (frame.sequence > 0 && frame.sequence <= this.#after) continue
      this.#keep(frame)
      if (this.#closed) return
    }
    if (!this.#congested) this.#flush()
  }

  #keep(frame: Frame): void {
    const { policy, maxBuffered, maxBufferedBytes } = this.#options
    if (policy === 'coalesce-by-key' && this.#congested) {
      this.#latest ??= new Map()
      const older = this.#latest.get(frame.row)
      if (older) {
        this.#waitingBytes -= older.bytes.length
        this.#counters.dropped += 1
        this.#latest.delete(frame.row) // set anew, so that the map's order is the order of sequences
      }
      this.#latest.set(frame.row, frame)
    } else {
      this.#waiting.push(frame)
    }
    this.#waitingBytes += frame.bytes.length
    const over = () =>
      this.#waiting.length > maxBuffered + this.#missed.frames ||
      this.#waitingBytes > maxBufferedBytes + this.#missed.bytes
    if (!this.#congested || !over()) return
    if (policy !== 'drop-oldest') {
      this.disconnect()
      return
    }
    while (over() && this.#waiting.length > 1) {
      this.#waitingBytes -= this.#waiting.shift()!.bytes.length
      this.#counters.dropped += 1
    }
  }

  #write(bytes: Buffer, frames: number): void {
    this.#counters.delivered += frames
    this.#counters.bytes += bytes.length
    if (this.#sink.write(bytes)) return
    this.#congested = true
    this.#congestedSince = performance.now()
  }

  #encode(bytes: Buffer): Buffer {
    return this.#options.gzip ? gzipSegment(bytes) : bytes
  }

  #flush(): void {
    if (this.#waiting.length === 0 && !this.#latest) return
    let at = 0
    while (at < this.#waiting.length && !this.#congested && !this.#closed) {
      const from = at
      for (let size = 0; at < this.#waiting.length && size < chunkBytes; at++) size += this.#waiting[at]!.bytes.length
      this.#writeOwn(this.#waiting.slice(from, at))
    }
    this.#waiting = this.#waiting.slice(at)
    if (this.#waiting.length === 0) this.#missed = nothing
    // what waits is older than the latest of each key: the order of ids is what a resume relies on
    if (this.#latest && this.#waiting.length === 0 && !this.#congested && !this.#closed) {
      const latest = [...this.#latest.values()]
      this.#latest = undefined
      this.#writeOwn(latest)
    }
    this.onOwnWay?.()
  }

  #writeOwn(frames: readonly Frame[]): void {
    const bytes = Buffer.concat(frames.map((frame) => frame.bytes))
    this.#waitingBytes -= bytes.length
    this.#write(this.#encode(bytes), frames.length)
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting = []
    this.#latest = undefined
    this.#onClose()
  }
}
