// Replays the flights of 2001 into the stream of `flights.departed`, by their event time and at a chosen speed. It is the
// stream's only writer, row n of the file being message n + 1: where the stream ends is where the feed goes on, so a
// crash loses nothing and repeats nothing.
import { failure, type StreamWriter, streamWriter } from 'myelin/bus'
import { eventStream } from 'myelin/contract'
import { client, ensureContractStreams, service } from 'myelin/service'
import { endOfInput } from 'myelin/stream'
import { defineUnit, type UnitHost } from 'myelin/unit'
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

class Feed {
  readonly #file: FlightsFile
  readonly #writer: StreamWriter
  readonly #encode: (flight: Flight) => { subject: string; data: Uint8Array; headerLines: string }
  readonly #progressTimer: NodeJS.Timeout
  readonly #running: Promise<void>
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
  position: number
  sent = 0

  static async open(host: UnitHost<Config>): Promise<Feed> {
    const { bus, config } = host
    await ensureContractStreams(bus, flights)
    const file = await openFlights(config.file, config.limit).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `file: ${config.file} cannot be read as Parquet`, { cause })
    })
    const writer = await streamWriter(bus, eventStream('flights', 'departed'), {
      onWait: (reason) => host.log.warn({ code: reason.code }, `the feed waits: ${reason.message}`),
    })
    return new Feed(host, file, writer)
  }

  private constructor(host: UnitHost<Config>, file: FlightsFile, writer: StreamWriter) {
    this.#file = file
    this.#writer = writer
    this.total = file.total
    this.position = Math.min(writer.acknowledged, file.total)
    this.#ended = writer.acknowledged > file.total
    this.#speed = host.config.speed
    const { departed, progress } = client(host.bus, flights)
    this.#encode = (flight) => departed.encode(flight, { id: `flight-${flight.id}`, time: flight.date })
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve
      this.#fail = reject
    })
    this.finished.catch(() => undefined)
    this.#progressTimer = setInterval(() => {
      progress.publish(this.progress()).catch(() => undefined) // the next one comes soon
    }, progressMs)
    this.#running = this.#run().catch((error) => {
      host.log.error({ err: error }, 'the feed stopped')
      this.#fail(error)
    })
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
    if (!this.#ended) {
      for await (const chunk of this.#file.read(this.position)) {
        if (Number.isNaN(this.#fromMs)) {
          this.#fromMs = Date.parse(chunk[0]!.date)
          this.#sinceMs = performance.now()
        }
        for (const flight of chunk) {
          if (this.#speed !== 'max') await this.#until(flight.date)
          if (this.#stopped) return this.#writer.flush()
          const { subject, data, headerLines } = this.#encode(flight)
          this.#writer.add(subject, data, headerLines)
          this.#clock = flight.date
          this.position += 1
          this.sent += 1
          const room = this.#writer.ready()
          if (room) await room
        }
      }
      const { subject, data, headerLines } = endOfInput(flights, 'departed')
      this.#writer.add(subject, data, headerLines)
      await this.#writer.flush()
      this.#ended = true
    }
    this.#finish()
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
