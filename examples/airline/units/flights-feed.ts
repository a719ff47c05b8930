// Replays the flights of 2001 into the stream of `flights.departed`, by their event time and at a chosen speed. It writes
// in atomic batches that are tied to where the stream ends, and the last flight that is stored tells which row comes
// next: a crash loses nothing and repeats nothing, and an event of somebody else in between changes nothing.
import { type Bus, failure, hasCode, readSpan, streamInfo } from 'myelin/bus'
import { eventStream } from 'myelin/contract'
import { type Client, client, type EventWriter, service } from 'myelin/service'
import { isEndOfInput } from 'myelin/stream'
import { defineUnit, type UnitContext } from 'myelin/unit'
import { z } from 'zod'
import { type Flight, flights, type Progress, Speed } from '../contracts/flights.ts'
import { flightsFile } from './data.ts'
import { type FlightsFile, openFlights } from './flights-file.ts'

const Config = z.object({
  file: z.string().default(flightsFile).describe('Parquet file with date, delay, distance, origin and destination'),
  speed: Speed.default(3600).describe("seconds of 2001 per second; 'max'; 0 is paused"),
  limit: z.number().int().positive().optional().describe('only so many flights'),
})
type Config = z.infer<typeof Config>

const tickMs = 50
const progressMs = 250

export default defineUnit<Config>({
  kind: 'feed',
  name: 'flights-feed',
  description: 'Replays the real flights of 2001 by their event time.',
  config: Config,
  async start(host) {
    const feed = await Feed.open(host)
    const face = await service(flights, {
      speed: ({ speed }) => {
        if (speed !== undefined) feed.speed = speed
        return feed.progress()
      },
    }).start({ ...host, config: undefined })
    return {
      done: feed.finished,
      vitals: () => ({ handled: feed.sent }),
      stats: () => ({ sent: feed.sent, total: feed.total, position: feed.position }),
      drain: async () => {
        await face.drain()
        await feed.stop()
      },
    }
  },
})

const stream = eventStream('flights', 'departed')
/** How many messages are looked at, from the end, for the feed's last one. */
const lookedAt = 1_000

/** How many flights of the file the stream holds, and whether the end of the file; others may have put events beside them. */
async function storedFlights(bus: Bus): Promise<{ flights: number; ended: boolean }> {
  const { first_seq: first = 1, last_seq: last = 0 } = (await streamInfo(bus, stream))?.state ?? {}
  let ended = false
  for (let until = last; until >= first; until -= lookedAt) {
    let flights = 0
    for await (const message of readSpan(bus, stream, { from: Math.max(first, until - lookedAt + 1), until })) {
      if (isEndOfInput(message)) ended = true
      const row = /^flight-(\d+)$/.exec(message.headers.get('ce-id') ?? '')?.[1]
      if (row !== undefined) flights = Number(row) + 1
    }
    if (flights > 0) return { flights, ended }
  }
  return { flights: 0, ended }
}

class Feed {
  readonly #host: UnitContext<Config>
  readonly #file: FlightsFile
  readonly #api: Client<typeof flights.definition>
  #writer!: EventWriter<Flight>
  readonly #publishProgress: () => void
  #progressTimer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  readonly finished: Promise<void>
  readonly total: number
  #finish!: () => void
  #fail!: (error: unknown) => void
  #speed: Speed
  /** Simulated time, unix ms, at `#sinceMs` of real time. */
  #fromMs = Number.NaN
  #sinceMs = 0
  #clock = ''
  #stopped = false
  #wake: (() => void) | undefined
  #ended = false
  #rate = { at: performance.now(), position: 0, perSecond: 0 }
  position = 0
  sent = 0

  static async open(host: UnitContext<Config>): Promise<Feed> {
    const { config } = host
    const file = await openFlights(config.file, config.limit).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `file: ${config.file} cannot be read as Parquet`, { cause })
    })
    const feed = new Feed(host, file)
    await feed.#openWriter()
    feed.#begin()
    return feed
  }

  private constructor(host: UnitContext<Config>, file: FlightsFile) {
    this.#host = host
    this.#file = file
    this.total = file.total
    this.#speed = host.config.speed
    this.#api = client(host.bus, flights)
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve
      this.#fail = reject
    })
    this.finished.catch(() => undefined)
    this.#publishProgress = () => {
      this.#api.progress.publish(this.progress()).catch(() => undefined) // the next one comes soon
    }
  }

  #begin(): void {
    this.#progressTimer = setInterval(this.#publishProgress, progressMs)
    this.#running = this.#run().catch((error) => {
      this.#host.log.error({ err: error }, 'the feed stopped')
      this.#fail(error)
    })
  }

  /** A writer at the end of the stream; the row that comes next is the one after the last flight there. */
  async #openWriter(): Promise<void> {
    const { bus, log } = this.#host
    this.#writer = await this.#api.departed.writer({
      validate: false, // the file was looked at, and 3,000,000 flights are many
      onWait: (reason) => log.warn({ code: reason.code }, `the feed waits: ${reason.message}`),
    })
    const { flights, ended } = await storedFlights(bus)
    this.position = Math.min(flights, this.total)
    this.#ended = ended
  }

  set speed(speed: Speed) {
    if (this.#fromMs >= 0) this.#fromMs = this.#nowMs()
    this.#sinceMs = performance.now()
    this.#speed = speed
    this.#wake?.()
  }

  /** Simulated time now, unix ms. */
  #nowMs(): number {
    if (this.#speed === 'max') return Number.isNaN(this.#fromMs) ? 0 : Math.max(this.#fromMs, Date.parse(this.#clock))
    return this.#fromMs + (performance.now() - this.#sinceMs) * this.#speed
  }

  progress(): Progress {
    const now = performance.now()
    if (now - this.#rate.at >= 900) {
      const perSecond = ((this.position - this.#rate.position) * 1000) / (now - this.#rate.at)
      this.#rate = { at: now, position: this.position, perSecond: Math.round(perSecond) }
    }
    const finished = this.#ended
    const paced = this.#speed !== 'max' && !finished && this.#fromMs >= 0
    return {
      clock: paced ? new Date(this.#nowMs()).toISOString().replace(/\.\d+/, '') : this.#clock || '2001-01-01T00:00:00Z',
      sent: this.position,
      total: this.total,
      perSecond: finished ? 0 : this.#rate.perSecond,
      speed: this.#speed,
      finished,
    }
  }

  async #run(): Promise<void> {
    while (!this.#ended && !this.#stopped) {
      try {
        await this.#replay()
      } catch (error) {
        if (!hasCode(error, 'WRONG_SEQUENCE')) throw error
        this.#host.log.warn('somebody else published an event here; the feed goes on after it')
        const at = this.position
        await this.#openWriter()
        this.sent -= at - this.position // those are sent again
      }
    }
    if (this.#ended) this.#finish()
  }

  /** From the present row to the end of the file, or until it is to stop. @throws MyelinError WRONG_SEQUENCE, … */
  async #replay(): Promise<void> {
    for await (const chunk of this.#file.read(this.position)) {
      if (Number.isNaN(this.#fromMs)) {
        this.#fromMs = Date.parse(chunk[0]!.date)
        this.#sinceMs = performance.now()
      }
      for (const flight of chunk) {
        if (this.#speed !== 'max') await this.#until(flight.date)
        if (this.#stopped) return this.#writer.flush()
        const room = this.#writer.write(flight, { id: `flight-${flight.id}`, time: flight.date })
        this.#clock = flight.date
        this.position += 1
        this.sent += 1
        if (room) await room
      }
    }
    await this.#writer.end()
    this.#ended = true
  }

  /** Resolves when simulated time has reached a flight's departure, or the feed is to stop. */
  async #until(date: string): Promise<void> {
    if (date === this.#clock) return
    const dueMs = Date.parse(date)
    while (!this.#stopped && this.#speed !== 'max' && this.#nowMs() < dueMs) {
      this.#writer.send() // what is due must not wait for a full batch
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, tickMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#progressTimer)
    this.#wake?.()
    await this.#running
    await this.#file.close()
  }
}
