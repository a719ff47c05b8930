// Where a reader is in its stream, and the consumer at the server that goes on from there: made, found again, and made
// anew when it is gone or the stream is not what it was.
import type { ConsumerInfo } from '@nats-io/jetstream'
import { nuid } from '@nats-io/nats-core'
import type { Bus } from '../bus.ts'
import { AckFloor } from './ack-floor.ts'
import { manager } from './api.ts'
import { consumerInfo, durableConfig, joinDurable, orderedConfig } from './consumer.ts'
import { compareStream, type StreamGap, type StreamIdentity, type StreamPlace, streamIdentity } from './identity.ts'
import type { DurableOptions, ReaderOptions, StartPosition } from './reader.ts'

/** What of a reader's options says where and what it reads. */
type PlaceOptions = Pick<ReaderOptions, 'stream' | 'subjects' | 'durable' | 'from'>

export class ReaderPlace {
  readonly #bus: Bus
  readonly #options: PlaceOptions
  /** Tells of a gap; false when the reader was stopped over it. */
  readonly #onGap: (gap: StreamGap) => boolean
  /** The name of the consumer; '' before there is one. */
  consumer = ''
  /** What the consumer had to deliver when it was made. */
  ahead = 0
  /** The last message that was handed out; of a durable the furthest. */
  lastSequence: number | undefined
  #lastMs: number | undefined
  /** Where the next ordered consumer begins. */
  #next: number | undefined
  /** Where a durable begins in a stream that is not what it was. */
  #begin: number | undefined
  /** What the stream was when it was last looked at. */
  #was: StreamPlace | undefined
  /** How far a durable is acknowledged. */
  floor = new AckFloor()
  /** When the durable was made whose deliveries the floor counts. */
  #made = ''

  constructor(bus: Bus, options: PlaceOptions, onGap: (gap: StreamGap) => boolean) {
    this.#bus = bus
    this.#options = options
    this.#onGap = onGap
  }

  /** Hot path, once per message. */
  read(sequence: number, timestampMs: number): void {
    // delivered again: the place is what came furthest
    if (this.lastSequence !== undefined && sequence <= this.lastSequence) return
    this.lastSequence = sequence
    this.#lastMs = timestampMs
    this.#next = sequence + 1
  }

  /** Makes sure that there is a consumer. @throws what the client library throws, MyelinError INVALID_OPTION */
  async ensure(): Promise<void> {
    const { durable } = this.#options
    if (durable) await this.#ensureDurable(durable)
    else await this.#makeOrdered()
  }

  async #makeOrdered(): Promise<void> {
    const { stream, subjects, from = 'start' } = this.#options
    const identity = await this.#lookAt()
    if (!identity) return
    const snapshot = from === 'last-per-subject' && this.lastSequence === undefined
    const start = this.#next === undefined || snapshot ? from : { sequence: this.#next }
    const { consumers } = await manager(this.#bus)
    const name = `ordered_${nuid.next()}`
    const made = await consumers.add(stream, orderedConfig(name, subjects, start))
    this.consumer = name
    this.ahead = made.num_pending
    // from now on it is a place: whoever began with what is new has not seen what comes while it is away
    this.#next ??= made.delivered.stream_seq + 1
    this.#settle(identity, this.#next - 1)
  }

  async #ensureDurable(durable: DurableOptions): Promise<void> {
    const { stream, subjects, from = 'start' } = this.#options
    const { consumers } = await manager(this.#bus)
    this.consumer = durable.name
    const existing = await consumerInfo(this.#bus, stream, durable.name)
    const opened = this.#was !== undefined
    const survived = existing && (this.#made === '' || this.#made === String(existing.created))
    const identity = await this.#lookAt(existing)
    if (!identity) return
    // one that is ahead of a stream that became shorter would pass over what is stored from now on
    const ahead = survived && this.#begin !== undefined && delivered(existing) >= this.#begin
    if (existing && !ahead) {
      await joinDurable(this.#bus, stream, existing, durable, subjects)
      this.#learn(existing)
    } else {
      if (existing) await consumers.delete(stream, durable.name).catch(() => undefined) // another member may have
      // a work queue holds nothing that is done
      const again: StartPosition = identity.workQueue ? 'start' : { sequence: this.#begin ?? this.floor.sequence + 1 }
      const config = durableConfig(durable, subjects, opened || existing ? again : from)
      const made = await consumers.add(stream, config).catch(async (error) => {
        const other = await consumerInfo(this.#bus, stream, durable.name)
        if (!other) throw error
        await joinDurable(this.#bus, stream, other, durable, subjects) // another member was faster
        return other
      })
      this.#learn(made)
    }
    this.#begin = undefined
    this.#settle(identity, this.floor.sequence)
  }

  /** Asks how far a shared durable is acknowledged, where only the server knows. */
  async learn(): Promise<void> {
    const { stream, durable } = this.#options
    if (!durable || !this.floor.uncertain) return
    const info = await consumerInfo(this.#bus, stream, durable.name).catch(() => undefined)
    if (info && String(info.created) === this.#made)
      this.floor.learn(info.ack_floor.consumer_seq, info.ack_floor.stream_seq)
  }

  #learn({ created, ack_floor }: ConsumerInfo): void {
    // messages of the consumer before settle with its own floor
    if (String(created) !== this.#made) this.floor = new AckFloor()
    this.#made = String(created)
    this.floor.learn(ack_floor.consumer_seq, ack_floor.stream_seq)
  }

  /** The stream as it is, compared with what it was; undefined when the reader was stopped over it. */
  async #lookAt(consumer?: ConsumerInfo): Promise<StreamIdentity | undefined> {
    const { stream, durable } = this.#options
    const place = this.#placeNow(consumer)
    if (!place) return await streamIdentity(this.#bus, stream)
    const { identity, gap } = await compareStream(this.#bus, stream, place)
    if (!gap) return identity
    this.#next = gap.next
    if (durable) {
      const done = consumer ? consumer.ack_floor.stream_seq : this.floor.sequence
      this.#begin = gap.reason === 'shorter' ? Math.min(done + 1, gap.next) : 1
    }
    this.lastSequence = undefined
    this.#lastMs = undefined
    this.floor = new AckFloor()
    this.#made = ''
    this.#settle(identity, gap.next - 1) // told once, also if what follows has to be tried again
    return this.#onGap(gap) ? identity : undefined
  }

  #placeNow(consumer: ConsumerInfo | undefined): StreamPlace | undefined {
    const was = this.#was
    // what was delivered has to be in the stream, which is asked for after the consumer
    const known = consumer ? delivered(consumer) : 0
    if (!was) return known > 0 ? { sequence: known } : undefined
    return {
      created: was.created,
      sequence: this.lastSequence ?? was.sequence,
      timestampMs: this.#lastMs,
      delivered: known,
    }
  }

  /** What a reopening compares the stream with; a reader may well wait for what lies past the stream's end. */
  #settle({ created, lastSequence }: StreamIdentity, sequence: number): void {
    this.#was = { created, sequence: Math.min(sequence, lastSequence) }
  }
}

/** The last message that a consumer delivered; 0 for none. */
const delivered = ({ delivered: { consumer_seq, stream_seq } }: ConsumerInfo) => (consumer_seq > 0 ? stream_seq : 0)
