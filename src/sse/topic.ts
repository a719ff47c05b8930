// What is offered under one name: a view, a kept event, or one that is not kept. One subscription for all clients; the
// newest frames stay here for clients that come back, older ones are read from the stream again.
import { type Bus, type BusSubscription, readStream, type StreamReader, streamInfo } from '../bus/index.ts'
import type { SseClient } from './client.ts'
import { encodeFrame, type Frame } from './frame.ts'
import type { SseSource } from './source.ts'

const ringFrames = 4_096
/** Keys whose latest row is kept for the snapshot of a view. */
const maxKeys = 100_000

export class Topic {
  readonly name: string
  readonly source: SseSource
  readonly #bus: Bus
  readonly #clients = new Set<SseClient>()
  readonly #latest = new Map<string, Frame>()
  #ring: Frame[] = []
  #last = 0
  #reader: StreamReader | undefined
  #subscription: BusSubscription | undefined
  delivered = 0

  constructor(bus: Bus, name: string, source: SseSource) {
    this.#bus = bus
    this.name = name
    this.source = source
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Resolves when the topic is up to date. @throws MyelinError STREAM_NOT_FOUND, … */
  async start(): Promise<void> {
    const { source } = this
    if (!source.stream) {
      this.#subscription = this.#bus.subscribe(source.subject, (message) => {
        this.#push(encodeFrame(this.name, 0, keyOf(message.subject), message.data))
      })
      await this.#bus.flush()
      return
    }
    await source.ensure(this.#bus)
    const info = await streamInfo(this.#bus, source.stream)
    const end = info?.state.last_seq ?? 0
    // clients that come back are served from here on; whoever needs older events gets them from the stream
    this.#last = source.snapshot ? 0 : end
    const caughtUp = Promise.withResolvers<void>()
    this.#reader = await readStream(this.#bus, {
      stream: source.stream,
      subjects: [source.subject],
      from: source.snapshot ? 'last-per-subject' : 'new',
      onMessage: (message) => {
        this.#reader?.release()
        this.#last = message.sequence
        if (message.data.length > 0) {
          this.#push(encodeFrame(this.name, message.sequence, keyOf(message.subject), message.data))
        }
        if (message.pending === 0) caughtUp.resolve()
      },
    })
    if (source.snapshot && end > 0) await caughtUp.promise
    // of the snapshot only the latest rows are here, not what lies between them
    this.#ring = []
  }

  #push(frame: Frame): void {
    if (this.source.snapshot) {
      if (this.#latest.has(frame.key)) this.#latest.delete(frame.key)
      else if (this.#latest.size >= maxKeys) this.#latest.delete(this.#latest.keys().next().value!)
      this.#latest.set(frame.key, frame)
    }
    if (frame.sequence > 0) {
      this.#ring.push(frame)
      if (this.#ring.length >= 2 * ringFrames) this.#ring = this.#ring.slice(-ringFrames)
    }
    for (const client of this.#clients) client.push(frame)
    this.delivered += this.#clients.size
  }

  /**
   * Adds a client: after `lastId` without a gap, or from a snapshot, or from now on.
   * A position that the stream no longer holds is told by `event: gap` with the first one it has.
   */
  async add(client: SseClient, lastId: number | undefined): Promise<void> {
    if (!this.source.stream || lastId === undefined) {
      for (const frame of this.#latest.values()) client.push(frame)
    } else if (lastId < this.#last) {
      await this.#catchUp(client, lastId)
    }
    if (!client.closed) this.#clients.add(client)
  }

  remove(client: SseClient): void {
    this.#clients.delete(client)
  }

  async #catchUp(client: SseClient, lastId: number): Promise<void> {
    let from = lastId + 1
    const first = (await streamInfo(this.#bus, this.source.stream!))?.state.first_seq ?? 1
    if (from < first) {
      client.raw(`event: gap\ndata: ${JSON.stringify({ after: lastId, firstAvailable: first })}\n\n`)
      from = first
    }
    // from the stream until what is here joins on; the last step is taken without a pause, so that nothing slips between
    while (!client.closed && !this.#joins(from)) from = await this.#readSome(client, from)
    for (const frame of this.#ring) if (frame.sequence >= from) client.pushMissed(frame)
  }

  #joins(from: number): boolean {
    const first = this.#ring[0]
    return from > this.#last || (first !== undefined && first.sequence <= from)
  }

  /** Sends what the stream holds from a position to its present end, at the client's pace. Returns what comes next. */
  async #readSome(client: SseClient, from: number): Promise<number> {
    const until = this.#last
    const done = Promise.withResolvers<void>()
    let next = from
    const reader = await readStream(this.#bus, {
      stream: this.source.stream!,
      from: { sequence: from },
      maxPending: 500,
      onMessage: (message) => {
        if (message.sequence > until) {
          done.resolve()
          return
        }
        next = message.sequence + 1
        if (message.data.length > 0) {
          client.pushMissed(encodeFrame(this.name, message.sequence, keyOf(message.subject), message.data))
        }
        if (client.closed || message.sequence >= until || message.pending === 0) done.resolve()
        else if (client.congested) void client.room().then(() => reader.release())
        else reader.release()
      },
      onError: (error) => done.reject(error),
    })
    try {
      await done.promise
    } finally {
      await reader.stop()
    }
    return Math.max(next, until + 1)
  }

  /** Ends the clients' connections; a browser comes back by itself, to whoever serves then. */
  async stop(): Promise<void> {
    await this.#reader?.stop()
    this.#subscription?.unsubscribe()
    for (const client of [...this.#clients]) client.end()
  }

  heartbeat(): void {
    for (const client of this.#clients) client.raw(':\n\n')
  }
}

/** The last token of a subject, which is the key of keyed events and of views. */
function keyOf(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1)
}
