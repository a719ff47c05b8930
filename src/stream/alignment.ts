// One watermark over all partitions of a processor. The input has one order; a partition reads its part of it, tells the
// others in marks how that moved its clocks, and takes a message when it knows of theirs up to its place. So watermark,
// rows and what is late are those of one partition, at every message, and a replay meets them again.
import {
  type Bus,
  consume,
  headerLine,
  lastMessage,
  messageOf,
  now,
  persist,
  type StreamReader,
} from '../bus/internal.ts'
import { controlHeader } from '../contract/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { watermarkValue } from './end-of-input.ts'
import { decodeMark, encodeMark, type Mark, markSubject } from './marks.ts'
import type { Tick } from './scout.ts'

export interface AlignmentOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly processor: string
  readonly partition: number
  readonly partitions: number
  /** The processor's input, and what of it this partition reads. */
  readonly stream: string
  readonly subject: string
  /** Where this partition goes on, and what its clocks say there. */
  readonly position: number
  readonly clocks: readonly Tick[]
  /** Whether messages wait here that were not announced yet, or that the server has and this partition has not. */
  readonly behind: () => boolean
  /** More is known of the others. */
  readonly onProgress: () => void
}

// marks of many partitions are read by many: the more there are, the rarer they come
const everyMs = (partitions: number) => Math.max(20, 5 * partitions)
const ticksPerMark = 2_000
const bytesPerTick = 64 // at most
const retryMs = 250
const askAnywayMs = 1_000
const sayAfterMs = 10_000

export class Alignment {
  readonly #options: AlignmentOptions
  readonly #perMark: number
  /** By partition, up to which place of the input its marks tell. */
  readonly #known: number[]
  #leastKnown: number
  /** By partition, what moved its clocks; each list in the order of the input. */
  readonly #heard: Tick[][]
  /** What of that has no gaps before it, in the order of the input, and how much of it was taken. */
  #ready: Tick[] = []
  #taken = 0
  #readyTo = 0
  /** The last message of this partition that was announced, and up to where it has no others. */
  #announced: number
  #covered: number
  /** What the next marks say. */
  #news: Tick[] = []
  #published: number
  /** How far the others, or a checkpoint, want to know of this partition. */
  #wanted = 0
  readonly #waiting: { readonly to: number; readonly resolve: () => void }[] = []
  #publishing = false
  #publishedAt = 0
  #askedAt = 0
  #timer: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #reader: StreamReader | undefined
  #stopped = false

  private constructor(options: AlignmentOptions) {
    this.#options = options
    const { partition, partitions, position, clocks, bus } = options
    this.#perMark = Math.max(1, Math.min(ticksPerMark, Math.floor(bus.maxPayloadBytes / bytesPerTick) - 8))
    this.#known = Array.from({ length: partitions }, (_, i) => (i === partition ? Number.POSITIVE_INFINITY : position))
    this.#heard = this.#known.map(() => [])
    this.#leastKnown = position
    this.#readyTo = position
    this.#announced = position
    this.#covered = position
    this.#published = position
    if (position > 0) {
      // whoever did not hear of this partition up to here, or has lost what was said, learns from its first mark what its
      // clocks say
      this.#news = [...clocks]
      this.#published = position - 1
      this.#wanted = position
    }
  }

  static async open(options: AlignmentOptions): Promise<Alignment> {
    const alignment = new Alignment(options)
    const { bus, log, stream, processor, position } = options
    alignment.#reader = await consume(bus, {
      stream,
      subjects: [markSubject(processor, '*')],
      // marks lie behind what they tell of
      from: { sequence: position + 1 },
      onMessage: ({ subject, data }) => {
        alignment.#reader?.release()
        const mark = decodeMark(subject, data)
        if (mark) alignment.#hear(mark)
      },
      onError: (error) => log.warn({ code: error.code }, `reading marks in ${stream}: ${error.message}`),
    })
    alignment.#watchOthers()
    alignment.#pump()
    return alignment
  }

  /** A message of this partition will have its turn; call in order. */
  announce(sequence: number, ticks: readonly Tick[]): void {
    for (const tick of ticks) this.#news.push(tick)
    this.#announced = sequence
    this.#covered = Math.max(this.#covered, sequence)
    this.#pump()
  }

  /** Whether everything before a place of the input is known. */
  knows(sequence: number): boolean {
    return this.#leastKnown >= sequence - 1
  }

  /** Up to here nothing comes from anybody that is not here. */
  get frontier(): number {
    return Math.min(this.#leastKnown, this.#covered)
  }

  /** What comes first of that which moved the others' clocks up to a place, or undefined. */
  next(to: number): Tick | undefined {
    if (this.#taken === this.#ready.length && this.#readyTo < this.#leastKnown) this.#merge()
    const tick = this.#ready[this.#taken]
    if (tick === undefined || tick.sequence > to) return undefined
    this.#taken += 1
    return tick
  }

  #merge(): void {
    const to = this.#leastKnown
    const ready: Tick[] = []
    for (const ticks of this.#heard) {
      let count = 0
      while (count < ticks.length && ticks[count]!.sequence <= to) count += 1
      for (const tick of ticks.splice(0, count)) ready.push(tick)
    }
    this.#ready = ready.sort((a, b) => a.sequence - b.sequence)
    this.#taken = 0
    this.#readyTo = to
  }

  /** Resolves when the others can know of this partition up to a place: no checkpoint may be past that. */
  async published(to: number): Promise<void> {
    if (to <= this.#published || this.#stopped) return
    const reached = new Promise<void>((resolve) => this.#waiting.push({ to, resolve }))
    this.#wanted = Math.max(this.#wanted, to)
    this.#pump()
    await reached
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearInterval(this.#watch)
    for (const { resolve } of this.#waiting.splice(0)) resolve()
    await this.#reader?.stop()
  }

  /** A partition that nobody runs holds up the others: a warning says so. */
  #watchOthers(): void {
    const { log, stream, partition } = this.#options
    let before = this.#leastKnown
    this.#watch = setInterval(() => {
      const waits = this.#announced > this.#leastKnown + 1 && this.#leastKnown === before
      before = this.#leastKnown
      if (!waits) return
      const behind = this.#known.flatMap((known, i) => (known === before ? [i] : []))
      log.warn(
        { behind },
        `${stream}: partition ${partition} waits for what others have up to ${this.#announced}; not heard of beyond ${before}: ${behind.join(', ')}. Is somebody running them?`,
      )
    }, sayAfterMs)
    this.#watch.unref()
  }

  #hear({ partition, to, wants, ticks }: Mark): void {
    const known = this.#known[partition]
    if (known === undefined || partition === this.#options.partition) return
    if (to > known) {
      const heard = this.#heard[partition]!
      for (const tick of ticks) if (tick.sequence > known) heard.push(tick)
      this.#known[partition] = to
      if (known === this.#leastKnown) this.#leastKnown = Math.min(...this.#known)
    }
    if (wants > this.#wanted) {
      this.#wanted = wants
      this.#pump()
    }
    if (to > known) this.#options.onProgress()
  }

  /** Sees to it that a mark goes out when there is need for one: soon, but not for each message by itself. */
  #pump(): void {
    if (this.#stopped || this.#publishing || this.#timer !== undefined) return
    if (this.#announced <= this.#published && this.#wanted <= this.#published) return
    const full = this.#news.length >= this.#perMark
    const waitMs = full ? 0 : this.#publishedAt + everyMs(this.#options.partitions) - now()
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#publishing = true
        void this.#publish().finally(() => {
          this.#publishing = false
          this.#pump()
        })
      },
      Math.max(0, waitMs),
    )
  }

  async #publish(): Promise<void> {
    const { bus, log, processor, partition, stream } = this.#options
    this.#publishedAt = now()
    try {
      if (this.#wanted > this.#covered) await this.#cover(this.#wanted)
      let count = Math.min(this.#news.length, this.#perMark)
      // A message is announced as a whole
      while (count < this.#news.length && this.#news[count]!.sequence === this.#news[count - 1]!.sequence) count += 1
      const ticks = this.#news.slice(0, count)
      const to = count < this.#news.length ? this.#news[count]!.sequence - 1 : this.#covered
      if (to <= this.#published) return
      const mark = { partition, after: this.#published, to, wants: Math.min(to, this.#announced), ticks }
      await persist(bus, markSubject(processor, partition), encodeMark(mark), {
        deadline: now() + 10_000,
        headerLines: headerLine(controlHeader, watermarkValue),
      })
      this.#news.splice(0, ticks.length)
      this.#published = to
      for (let i = this.#waiting.length - 1; i >= 0; i--) {
        if (this.#waiting[i]!.to <= to) this.#waiting.splice(i, 1)[0]!.resolve()
      }
      this.#options.onProgress()
    } catch (error) {
      if (this.#stopped) return
      log.warn(`${stream}: a mark of partition ${partition} could not be stored, tried again: ${messageOf(error)}`)
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }

  /** A partition that gets nothing has to know that there is nothing: the server is asked for its last message. */
  async #cover(to: number): Promise<void> {
    const { bus, stream, subject, behind } = this.#options
    // what is under way here says more than the server, unless it does not come
    if (behind() && now() - this.#askedAt < askAnywayMs) return
    this.#askedAt = now()
    const announced = this.#announced
    const last = await lastMessage(bus, stream, subject)
    if (last === undefined || last.sequence <= announced) this.#covered = Math.max(this.#covered, to)
  }
}
