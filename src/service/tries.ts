// How often a job or event was begun. The server counts deliveries, which is something else: what a worker had fetched
// ahead when it died was delivered and never begun, and a worker that dies of a job never says that the job failed.
// So begins are written down before the handler runs, where no crash takes them back: first ones as a list of what a
// worker has under way, one small message for all that it begins in a turn of the event loop; later ones, which are
// rare, each with its number, stored before the handler starts.
import { nuid } from '@nats-io/nats-core'
import {
  type Bus,
  ensureOnce,
  ensureStream,
  lastMessage,
  MyelinError,
  nextMessage,
  now,
  persistIn,
  readJson,
  type StreamMessage,
} from '../bus/internal.ts'
import { triesStream, triesSubject } from '../contract/internal.ts'
import { triesSpec } from './streams.ts'

/** What is known of earlier tries. */
export interface EarlierTries {
  readonly begun: number
  /** Why the last of them failed, where its worker lived to say. */
  readonly code?: string
  readonly reason?: string
}

interface Count extends EarlierTries {
  readonly key: string
}

export class Tries {
  readonly #bus: Bus
  readonly #service: string
  readonly #stream: string
  /** `try.<service>.<stream>.<consumer>` */
  readonly #subject: string
  readonly #listSubject: string
  #reading: Promise<ReadonlySet<string>> | undefined
  #following: Promise<ReadonlySet<string>> | undefined

  /** Tries of the messages of one consumer. */
  constructor(bus: Bus, service: string, stream: string, consumer: string) {
    this.#bus = bus
    this.#service = service
    this.#stream = triesStream(service)
    this.#subject = triesSubject(service, stream, consumer)
    this.#listSubject = `${this.#subject}.worker.${nuid.next()}`
  }

  async open(): Promise<void> {
    await ensureOnce(this.#bus, triesSpec(this.#service))
  }

  /** Names a message for ever: a stream that is deleted and made anew counts from 1 again. */
  keyOf(message: StreamMessage): string {
    return `${message.sequence}@${message.timestampMs}`
  }

  /**
   * Says what this worker has under way. Hot path: not acknowledged; what was published before a turn's end is with the
   * operating system at the next microtask, and a process that is killed then does not take it back.
   */
  underWay(keys: Iterable<string>): void {
    this.#bus.publish(this.#listSubject, Buffer.from([...keys].join(' ')))
  }

  /** What came of earlier deliveries of a message. @throws MyelinError when JetStream does not answer */
  async before(message: StreamMessage): Promise<EarlierTries> {
    const key = this.keyOf(message)
    const stored = await lastMessage(this.#bus, this.#stream, this.#countSubject(message))
    const count = stored && (readJson(stored.data) as Count | undefined)
    if (count?.key === key) return count
    try {
      return { begun: (await this.#listed()).has(key) ? 1 : 0 }
    } catch (error) {
      if (!(error instanceof MyelinError && error.code === 'STREAM_NOT_FOUND')) throw error
      // somebody removed it with all that was known: it is made again, and the count begins anew
      await ensureStream(this.#bus, triesSpec(this.#service))
      return { begun: 0 }
    }
  }

  /** Sets how often a message was begun; resolves when it is stored. */
  async set(message: StreamMessage, tries: EarlierTries): Promise<void> {
    const count: Count = { key: this.keyOf(message), ...tries }
    const data = Buffer.from(JSON.stringify(count))
    await persistIn(this.#bus, triesSpec(this.#service), this.#countSubject(message), data, {
      deadline: now() + 10_000,
      deduplicated: true, // storing it twice is storing it
    })
  }

  #countSubject(message: StreamMessage): string {
    return `${this.#subject}.count.${message.sequence}`
  }

  /** What the workers of this consumer, dead ones too, had under way. Those who ask meanwhile share the next answer. */
  #listed(): Promise<ReadonlySet<string>> {
    if (!this.#reading) {
      this.#reading = this.#readLists().finally(() => {
        this.#reading = undefined
      })
      return this.#reading
    }
    // the answer under way may be older than the question
    this.#following ??= this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#following = undefined
        return this.#listed()
      })
    return this.#following
  }

  async #readLists(): Promise<ReadonlySet<string>> {
    const found = new Set<string>()
    for (let from = 1; ; ) {
      const subject = `${this.#subject}.worker.*`
      const message = await nextMessage(this.#bus, this.#stream, from, { subject, direct: false })
      if (!message) return found
      for (const key of Buffer.from(message.data).toString().split(' ')) found.add(key)
      from = message.sequence + 1
    }
  }
}
