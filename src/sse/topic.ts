// What is offered under one name: a view, a table, a kept event, or one that is not kept. One subscription for all
// clients; the newest frames stay here for clients that come back, older ones are read from the stream again.
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Bus,
  type BusSubscription,
  backoff,
  consume,
  failure,
  type MyelinError,
  nextMessage,
  readHeaders,
  type StreamGap,
  type StreamReader,
  sequenceAt,
  sleep,
  streamInfo,
} from '../bus/internal.ts'
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
/** How long the gateway's start waits for one stream. */
const startWaitMs = 5_000

/** What waiting does not cure: the gateway offers something that is not there, or that is something else. */
const isDefinite = ({ code }: MyelinError) => code === 'STREAM_NOT_FOUND' || code === 'STREAM_MISMATCH'

type Message = Parameters<Missed['frameOf']>[0]

/**
 * Where a client begins: after an event it has seen, at a time, or (undefined) with the snapshot or now. An id that is
 * none of this stream's (another server's, say) is a gap: what it has seen nobody knows.
 */
export type Position = { readonly after: number } | { readonly timeMs: number } | 'foreign'

export class Topic {
  readonly name: string
  readonly source: SseSource
  readonly counters = noCounts()
  readonly #bus: Bus
  readonly #audiences = new Audiences()
  readonly #latest = new Map<string, Frame>()
  #ring: Frame[] = []
  #last = 0
  /** What was sent the last time that the stream turned out to be another, and where that begins. */
  #gap = ''
  #first = 0
  readonly #clients = new Set<SseClient>()
  #reader: StreamReader | undefined
  #subscription: BusSubscription | undefined
  /** Resolves when the stream is being read; clients that come earlier wait for it. */
  readonly #opened = Promise.withResolvers<void>()
  readonly #stopping = new AbortController()
  #isOpen = false
  #trouble: MyelinError | undefined

  constructor(bus: Bus, name: string, source: SseSource) {
    this.#bus = bus
    this.name = name
    this.source = source
  }

  get clients(): number {
    return this.#clients.size
  }

  /**
   * Resolves when the topic is up to date, or after a while: a stream that cannot be read now (its server is down, say)
   * holds up nobody but its own clients, and is tried again until it can be.
   * @throws MyelinError STREAM_NOT_FOUND, STREAM_MISMATCH: the gateway offers what there is not
   */
  async start(): Promise<void> {
    const first = this.#open()
    const late = delay(startWaitMs, 'late' as const, { ref: false })
    const failed = await Promise.race([first.catch((error) => error), late])
    if (failed === undefined) return
    if (failed === 'late') {
      this.#trouble = failure('DEADLINE_EXCEEDED', `stream ${this.name} could not be read within ${startWaitMs} ms`)
      void first.catch(() => this.#openLater())
      return
    }
    if (isDefinite(failed)) throw failed
    this.#trouble = failed
    void this.#openLater()
  }

  /** True, or why the stream cannot be read now. */
  async health(): Promise<true | string> {
    if (!this.#trouble) return true
    const { stream } = this.source
    // the reader goes on by itself; whether it has is what its stream says
    const info = stream && this.#reader ? await streamInfo(this.#bus, stream).catch(() => undefined) : undefined
    if (info) this.#trouble = undefined
    return this.#trouble ? `${this.#trouble.code}: ${this.#trouble.message}` : true
  }

  async #openLater(): Promise<void> {
    const nextMs = backoff(250, 5_000)
    while (!this.#stopping.signal.aborted) {
      await sleep(nextMs(), this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      try {
        return await this.#open()
      } catch (error) {
        this.#trouble = error as MyelinError
      }
    }
  }

  async #open(): Promise<void> {
    const { source } = this
    await source.ensure(this.#bus)
    if (!source.stream) {
      this.#subscription = this.#bus.subscribe(source.subject, (message) => {
        const { subject, data } = message
        const event = source.toEvent({ subject, data, headers: readHeaders(message) })
        if (event) this.#push(encodeFrame(this.name, 0, event))
      })
      try {
        await this.#bus.flush()
      } catch (error) {
        this.#subscription.unsubscribe() // it is opened again, and every client would get everything twice
        throw error
      }
      this.#goLive()
      return
    }
    const end = (await streamInfo(this.#bus, source.stream))?.state.last_seq ?? 0
    const filled = source.snapshot && (await nextMessage(this.#bus, source.stream, 1, { subject: source.subject }))
    // clients that come back are served from here on; whoever needs older events gets them from the stream
    this.#last = end
    const caughtUp = Promise.withResolvers<void>()
    this.#reader = await consume(this.#bus, {
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
      // the reader tries again by itself; clients stay, and the other streams have nothing to do with it
      onError: (error) => {
        this.#trouble = error
      },
      onGap: (gap) => this.#begunAnew(gap),
    })
    if (this.#stopping.signal.aborted) return await this.#reader.stop()
    if (filled) await caughtUp.promise
    // of the snapshot only the latest rows are here, not what lies between them
    this.#ring = []
    this.#goLive()
  }

  #goLive(): void {
    this.#isOpen = true
    this.#trouble = undefined
    this.#opened.resolve()
  }

  /** The stream is another, or shorter than it was: everybody gets a gap and what it has now. */
  #begunAnew({ next }: StreamGap): void {
    this.#audiences.flush()
    this.#gap = gapText({ after: this.#last, firstAvailable: next })
    this.#first = next
    this.#last = next - 1
    this.#ring = []
    this.#latest.clear()
    this.#trouble = undefined
    for (const client of this.#clients) {
      client.rejoin(this.#last)
      client.say(this.#gap + positionText(this.#last))
    }
  }

  #frameOf(message: Message): Frame | undefined {
    const event = this.source.toEvent(message)
    return event && encodeFrame(this.name, message.sequence, event)
  }

  #push(frame: Frame): void {
    if (this.source.snapshot) {
      this.#latest.delete(frame.row) // set anew, so that the map's order is the order of sequences
      if (!frame.deleted) this.#latest.set(frame.row, frame)
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
   * A position that the stream no longer holds is answered with `event: gap` and the first one it has.
   */
  async add(client: SseClient, selection: Selection, position?: Position): Promise<void> {
    const { stream } = this.source
    this.#clients.add(client)
    await this.#opened.promise
    let from = position && stream ? await this.#begin(client, position) : undefined
    for (let gap = this.#gap; from !== undefined && !client.closed && !this.#joins(from); ) {
      const frameOf = (message: Message) => this.#wanted(selection, message)
      from = await sendMissed(this.#bus, client, { source: this.source, from, until: this.#last, frameOf })
      if (gap === this.#gap) continue
      gap = this.#gap // it was sent meanwhile, like to all
      from = this.#first
    }
    if (client.closed) return
    // no pause from here on, so that nothing slips between
    const audience = this.#audiences.of(selection)
    if (from === undefined) {
      audience.sendSnapshot(client, this.#last, this.#latest.values())
      audience.add(client, stream ? this.#last : -1)
      if (stream) client.say(positionText(this.#last))
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
    if (position === 'foreign') {
      const first = (await streamInfo(this.#bus, stream!))?.state.first_seq ?? 1
      client.say(gapText({ after: null, firstAvailable: first }))
      return undefined
    }
    const from = 'after' in position ? position.after + 1 : await this.#sequenceAt(position.timeMs)
    if (from === this.#last + 1 || (from <= this.#last && this.#joins(from))) return from
    const { state, config } = (await streamInfo(this.#bus, stream!)) ?? {}
    const first = state?.first_seq ?? 1
    // of a table only what expired is lost; what a key was in between does not matter
    const expires = !compacted || (config?.max_age ?? 0) > 0
    const lost = from < first && 'after' in position && expires
    const remade = from > Math.max(this.#last, state?.last_seq ?? 0) + 1 // its sequences count from 1 again
    if (lost || remade) {
      client.say(gapText({ after: from - 1, firstAvailable: first }))
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
    const { subject, stream, timeOf, toEvent } = this.source
    return sequenceAt(this.#bus, stream!, timeMs, {
      subject,
      timeOf: timeOf && ((message) => timeOf(payloadOf(toEvent(message)?.data))),
    })
  }

  /** Ends the clients' connections, each with what `farewell` says; a browser comes back by itself, to whoever serves then. */
  async stop(farewell: () => string): Promise<void> {
    this.#stopping.abort()
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
    if (!this.#isOpen) for (const client of this.#clients) client.say(':\n\n')
    const now = performance.now()
    for (const client of [...this.#clients]) if (client.stuckMs(now) > stuckMs) client.disconnect()
  }
}

const gapText = (gap: { after: number | null; firstAvailable: number }) =>
  `event: gap\ndata: ${JSON.stringify(gap)}\n\n`

/** Where a new client begins: a browser remembers the id, so it resumes there even if it is cut off before the first event. */
const positionText = (sequence: number) => `id:${sequence}\nevent: position\ndata\n\n`

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
