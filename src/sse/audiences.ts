// The audiences of a stream: which of them a frame concerns, and when their batches go out.
import { Audience, type Selection } from './audience.ts'
import type { SseClient } from './client.ts'
import type { Frame } from './frame.ts'

const longestRestMs = 20

export class Audiences {
  readonly #byId = new Map<string, Audience>()
  /** By what they want: everything, or some keys. */
  readonly #ofAll = new Set<Audience>()
  readonly #ofKey = new Map<string, Set<Audience>>()
  #due: Audience[] = []
  #restUntil = 0

  /** Those who want this; made when nobody did so far. */
  of(selection: Selection): Audience {
    const found = this.#byId.get(selection.id)
    if (found) return found
    const audience = new Audience(selection)
    this.#byId.set(selection.id, audience)
    if (!selection.keys) this.#ofAll.add(audience)
    for (const key of selection.keys ?? []) {
      const some = this.#ofKey.get(key) ?? new Set()
      this.#ofKey.set(key, some.add(audience))
    }
    return audience
  }

  remove(client: SseClient, selection: Selection): void {
    const audience = this.#byId.get(selection.id)
    if (!audience?.clients.delete(client) || audience.clients.size > 0) return
    audience.stop()
    this.#byId.delete(selection.id)
    this.#ofAll.delete(audience)
    for (const key of selection.keys ?? []) {
      const some = this.#ofKey.get(key)
      some?.delete(audience)
      if (some?.size === 0) this.#ofKey.delete(key)
    }
  }

  /** Hands a frame to whom it concerns; it goes out with what else this turn of the event loop brings. */
  offer(frame: Frame): void {
    for (const audience of this.#ofAll) this.#offer(audience, frame)
    const some = this.#ofKey.get(frame.key)
    if (some) for (const audience of some) this.#offer(audience, frame)
    frame.forgetPayload()
  }

  #offer(audience: Audience, frame: Frame): void {
    if (!audience.take(frame) || this.#due.push(audience) > 1) return
    const waitMs = this.#restUntil - performance.now()
    if (waitMs > 1) setTimeout(() => this.flush(), waitMs)
    else setImmediate(() => this.flush())
  }

  /**
   * Hot path. What arrives while 5,000 clients are written to (40 ms of system calls here) goes out together, so batches
   * grow with the load. After a long pass it rests half as long: the next batch is larger for the same number of system
   * calls, and others get the core. (At 100 events a second a rest as long as the pass took it from 95 % to 55 %, and
   * added more to the age of events.)
   */
  flush(): void {
    const due = this.#due
    this.#due = []
    const started = performance.now()
    for (const audience of due) audience.flush()
    const now = performance.now()
    this.#restUntil = now + Math.min((now - started) / 2, longestRestMs)
  }

  heartbeat(): void {
    for (const audience of this.#byId.values()) audience.heartbeat()
  }

  /** Sends what waits and takes nothing more. */
  stop(): void {
    this.flush()
    for (const audience of this.#byId.values()) audience.stop()
  }
}
