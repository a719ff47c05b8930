// The flights of the airline: every departure as a durable event, and the feed's own small service.
import { contract } from 'myelin/contract'
import { z } from 'zod'

export const Iata = z.string().regex(/^[A-Z0-9]{3}$/, 'expected three letters or digits, like ATL')

/** One departure of the year 2001. Delay in minutes (negative: early), distance in miles. */
export const Flight = z.object({
  /** Row of the source file, from 0: the flight's identity. */
  id: z.number().int(),
  /** Scheduled departure, ISO 8601 with Z (the file has local time without a zone). */
  date: z.string(),
  delay: z.number().int(),
  distance: z.number().int(),
  origin: z.string(),
  destination: z.string(),
})
export type Flight = z.infer<typeof Flight>

/** An hour of 2001 per second is 3600; `max` is as fast as the machine goes; 0 is paused. */
export const Speed = z.union([z.number().min(0).max(1_000_000), z.literal('max')])
export type Speed = z.infer<typeof Speed>

/** Where the feed is. */
export const Progress = z.object({
  /** Simulated time, ISO 8601. */
  clock: z.string(),
  sent: z.number().int(),
  total: z.number().int(),
  perSecond: z.number(),
  speed: Speed,
  finished: z.boolean(),
})
export type Progress = z.infer<typeof Progress>

export const flights = contract('flights', {
  version: '1.0.0',
  description: 'Real departures of US flights in 2001, replayed by their event time.',
  events: {
    departed: {
      description: 'A flight left (late or not).',
      payload: Flight,
      key: 'origin',
      durable: { maxBytes: 4 * 1024 ** 3, discard: 'new' },
    },
    progress: { description: 'Where the feed is; four times a second, to whoever listens.', payload: Progress },
  },
  endpoints: {
    speed: {
      description: 'Sets how fast time passes; without a speed it only reports.',
      in: z.object({ speed: Speed.optional() }),
      out: Progress,
      idempotent: true,
    },
  },
})
