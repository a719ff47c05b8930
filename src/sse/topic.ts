// What is offered under one name: a view, a table, a kept event, or one that is not kept. One subscription for all
// clients; the newest frames stay here for clients that come back, older ones are read from the stream again.
import {
  type Bus,
  type BusSubscription,
  type MyelinError,
  nextMessage,
  readStream,
  type StreamReader,
  sequenceAt,
  streamInfo,
} from '../bus/index.ts'
import type { Selection } from './audience.ts'
import { Audiences } from './audiences.ts'
import { type Missed, sendMissed } from './catch-up.ts'
import type { SseClient } from './client.ts'
import { noCounts } from './counters.ts'
import { encodeFrame, type Frame } from './frame.ts'
import type { SseSource } from './source.ts'

const ringFrames = 4_096
/** Keys whose latest row is kept for the snapshot. */
const maxKeys = 100_000

type Message = Parameters<Missed['frameOf']>[0]

/** Where a client begins: after an event it has seen, at a time, or (undefined) with the snapshot or now. */
export type Position = { readonly after: number } | { readonly timeMs: number }

export class Topic {
  readonly name: string
  readonly source: SseSource
  readonly counters = noCounts()
  readonly #bus: Bus
  readonly #audiences = new Audiences()
  readonly #latest = new Map<string, Frame>()
  #ring: Frame[] = []
  #last = 0
  readonly #clients = new Set<SseClient>()
  readonly #onFailed: (error: MyelinError) => void
  #reader: StreamReader | undefined
  #subscription: BusSubscription | undefined

  /** `onFailed`: its stream cannot be read any more. */
  constructor(bus: Bus, name: string, source: SseSource, onFailed: (error: MyelinError) => void) {
    this.#bus = bus
    this.#onFailed = onFailed
    this.name = name
    this.source = source
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Resolves when the topic is up to date. @throws MyelinError STREAM_NOT_FOUND, … */
  async start(): Promise<void> {
    const { source } = this
    await source.ensure(this.#bus)
    if (!source.stream) {
      this.#subscription = this.#bus.subscribe(source.subject, ({ subject, data }) => {
        const told = source.tell({ subject, data })
        if (told) this.#push(encodeFrame(this.name, 0, told.key, told.data, told.deleted))
      })
      await this.#bus.flush()
      return
    }
    const end = (await streamInfo(this.#bus, source.stream))?.state.last_seq ?? 0
    const filled = source.snapshot && (await nextMessage(this.#bus, source.stream, 1, { subject: source.subject }))
    // clients that come back are served from here on; whoever needs older events gets them from the stream
    this.#last = end
    const caughtUp = Promise.withResolvers<void>()
    caughtUp.promise.catch(() => undefined)
    this.#reader = await readStream(this.#bus, {
      stream: source.stream,
      subjects: [source.subject],
      // by sequence, so that nothing is between what clients come back to and what is read
      from: source.snapshot ? 'last-per-subject' : { sequence: end + 1 },
      onMessage: (message) => {
        this.#reader?.release()
        this.#last = Math.max(this.#last, message.sequence)
        const frame = this.#frameOf(message)
        if (frame) this.#push(frame)
        if (message.pending === 0) caughtUp.resolve()
      },
      onError: (error) => {
        caughtUp.reject(error)
        this.#onFailed(error)
      },
    })
    if (filled) await caughtUp.promise
    // of the snapshot only the latest rows are here, not what lies between them
    this.#ring = []
  }

  #frameOf(message: Message): Frame | undefined {
    const told = this.source.tell(message)
    return told && encodeFrame(this.name, message.sequence, told.key, told.data, told.deleted)
  }

  #push(frame: Frame): void {
    if (this.source.snapshot) {
      this.#latest.delete(frame.key) // set anew, so that the map's order is the order of sequences
      if (!frame.deleted) this.#latest.set(frame.key, frame)
      if (this.#latest.size > maxKeys) this.#latest.delete(this.#latest.keys().next().value!)
    }
    if (frame.sequence > 0) {
      this.#ring.push(frame)
      if (this.#ring.length >= 2 * ringFrames) this.#ring = this.#ring.slice(-ringFrames)
    }
    this.#audiences.offer(frame)
  }

  /**
   * Adds a client: after a position without a gap, or from a snapshot, or from now on.
   * A position that the stream no longer holds is told by `event: gap` with the first one it has.
   */
  async add(client: SseClient, selection: Selection, position: Position | undefined): Promise<void> {
    const { stream } = this.source
    this.#clients.add(client)
    let from = position && stream ? await this.#begin(client, position) : undefined
    while (from !== undefined && !client.closed && !this.#joins(from)) {
      const frameOf = (message: Message) => this.#wanted(selection, message)
      from = await sendMissed(this.#bus, client, { source: this.source, from, until: this.#last, frameOf })
    }
    if (client.closed) return
    // no pause from here on, so that nothing slips between
    const audience = this.#audiences.of(selection)
    if (from === undefined) {
      audience.sendSnapshot(client, this.#last, this.#latest.values())
      audience.add(client, stream ? this.#last : -1)
      return
    }
    for (const frame of this.#ring) {
      if (frame.sequence >= from && wants(selection, frame)) client.pushMissed(frame)
    }
    audience.add(client, Math.max(this.#last, from - 1))
  }

  remove(client: SseClient, selection: Selection): void {
    this.#clients.delete(client)
    this.#audiences.remove(client, selection)
  }

  /** The first sequence that a client needs, or undefined when it must begin anew. Tells it what is gone. */
  async #begin(client: SseClient, position: Position): Promise<number | undefined> {
    const { stream, snapshot, compacted } = this.source
    const from = 'after' in position ? position.after + 1 : await this.#sequenceAt(position.timeMs)
    if (from === this.#last + 1 || (from <= this.#last && this.#joins(from))) return from
    const { state, config } = (await streamInfo(this.#bus, stream!)) ?? {}
    const first = state?.first_seq ?? 1
    // of a table only what expired is lost; what a key was in between does not matter
    const expires = !compacted || (config?.max_age ?? 0) > 0
    const lost = from < first && 'after' in position && expires
    const remade = from > Math.max(this.#last, state?.last_seq ?? 0) + 1 // its sequences count from 1 again
    if (lost || remade) {
      client.say(`event: gap\ndata: ${JSON.stringify({ after: from - 1, firstAvailable: first })}\n\n`)
    }
    if ((remade && snapshot) || (lost && compacted)) return undefined
    return remade ? first : Math.max(first, from)
  }

  #wanted(selection: Selection, message: Message): Frame | undefined {
    const frame = this.#frameOf(message)
    return frame && wants(selection, frame) ? frame : undefined
  }

  #joins(from: number): boolean {
    const first = this.#ring[0]
    return from > this.#last || (first !== undefined && first.sequence <= from)
  }

  #sequenceAt(timeMs: number): Promise<number> {
    const { subject, stream, timeOf, tell } = this.source
    return sequenceAt(this.#bus, stream!, timeMs, {
      subject,
      timeOf: timeOf && ((message) => timeOf(payloadOf(tell(message)?.data))),
    })
  }

  /** Ends the clients' connections, each with what `farewell` says; a browser comes back by itself, to whoever serves then. */
  async stop(farewell: () => string): Promise<void> {
    await this.#reader?.stop()
    this.#subscription?.unsubscribe()
    this.#audiences.stop()
    for (const client of [...this.#clients]) {
      client.say(farewell())
      client.end()
    }
  }

  heartbeat(stuckMs: number): void {
    this.#audiences.heartbeat()
    const now = Date.now()
    for (const client of [...this.#clients]) if (client.stuckMs(now) > stuckMs) client.disconnect()
  }
}

function wants({ keys, filter }: Selection, frame: Frame): boolean {
  if (keys && !keys.includes(frame.key)) return false
  const fits = !filter || frame.deleted || filter(frame.payload)
  frame.forgetPayload()
  return fits
}

function payloadOf(data: Uint8Array | string | undefined): unknown {
  try {
    return data === undefined ? undefined : JSON.parse(typeof data === 'string' ? data : Buffer.from(data).toString())
  } catch {
    return undefined
  }
}
