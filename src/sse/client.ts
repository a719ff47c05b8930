// One connected browser: a bounded buffer between what arrives for all and what this one socket takes, so that a slow
// phone never slows the rest and never fills the memory.
import type { ServerResponse } from 'node:http'
import type { Frame } from './frame.ts'

/**
 * What happens when a client does not keep up: `coalesce` keeps the latest of each key (views), `disconnect` ends the
 * connection, which a browser resumes from its last event (events that are kept), `drop-oldest` leaves out (events that
 * are not).
 */
export type SlowClientPolicy = 'coalesce' | 'disconnect' | 'drop-oldest'

export interface ClientOptions {
  readonly policy: SlowClientPolicy
  /** Frames waiting at most; `coalesce` holds one per key. */
  readonly maxBuffered: number
  /** Collect for so long and send the latest of each key; 0: at once. `coalesce` only. */
  readonly everyMs: number
  /** Only frames of this key. */
  readonly key: string | undefined
}

export class SseClient {
  readonly #response: ServerResponse
  readonly #options: ClientOptions
  readonly #onClose: () => void
  #waiting: Frame[] = []
  readonly #latest = new Map<string, Frame>()
  #congested = false
  #timer: NodeJS.Timeout | undefined
  #closed = false
  sent = 0
  dropped = 0

  constructor(response: ServerResponse, options: ClientOptions, onClose: () => void) {
    this.#response = response
    this.#options = options
    this.#onClose = onClose
    response.on('close', () => this.#gone())
    response.on('error', () => this.#gone())
    response.on('drain', () => {
      this.#congested = false
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

  /** What a client that came back has missed: all of it, at the client's own pace. The caller bounds how much waits. */
  pushMissed(frame: Frame): void {
    const { key } = this.#options
    if (this.#closed || (key !== undefined && key !== frame.key)) return
    if (this.#congested) this.#waiting.push(frame)
    else this.#write(frame)
  }

  /** Hot path: for a client that keeps up this is one write. */
  push(frame: Frame): void {
    const { policy, key, everyMs, maxBuffered } = this.#options
    if (this.#closed || (key !== undefined && key !== frame.key)) return
    if (policy === 'coalesce' && (everyMs > 0 || this.#congested)) {
      // bounded by the number of keys; set anew, so that the map's order is the order of sequences
      this.#latest.delete(frame.key)
      this.#latest.set(frame.key, frame)
      if (everyMs > 0) this.#timer ??= setTimeout(() => this.#flush(), everyMs)
      return
    }
    if (!this.#congested) {
      this.#write(frame)
      return
    }
    if (this.#waiting.length >= maxBuffered) {
      if (policy !== 'drop-oldest') {
        this.end()
        return
      }
      this.#waiting.shift()
      this.dropped += 1
    }
    this.#waiting.push(frame)
  }

  /** A line that browsers ignore and proxies see; or an event of the gateway's own. */
  raw(text: string): void {
    if (!this.#closed && !this.#congested) this.#congested = !this.#response.write(text)
  }

  /** Resolves when the socket has room, or is gone. */
  async room(): Promise<void> {
    while (this.#congested && !this.#closed) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#response.off('drain', done)
          this.#response.off('close', done)
          resolve()
        }
        this.#response.once('drain', done)
        this.#response.once('close', done)
      })
    }
  }

  end(): void {
    this.#response.end()
    this.#gone()
  }

  #write(frame: Frame): void {
    this.sent += 1
    this.#congested = !this.#response.write(frame.bytes)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    // what waits is older than the latest of each key: the order of ids is what a resume relies on
    while (this.#waiting.length > 0 && !this.#congested) this.#write(this.#waiting.shift()!)
    if (this.#latest.size === 0 || this.#congested) return
    const frames = [...this.#latest.values()]
    this.#latest.clear()
    this.sent += frames.length
    this.#congested = !this.#response.write(Buffer.concat(frames.map(({ bytes }) => bytes)))
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#latest.clear()
    this.#onClose()
  }
}
