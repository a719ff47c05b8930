// The airline's views: what processors write, and the page and others read.
import { view } from 'myelin/stream'
import { z } from 'zod'

/** One row per airport and hour of event time. */
export const DelayHour = z.object({
  origin: z.string(),
  /** Start of the hour, ISO 8601. */
  hour: z.string(),
  flights: z.number().int(),
  /** Minutes. */
  mean: z.number(),
  p50: z.number(),
  p95: z.number(),
  /** Share of flights more than 15 minutes late, 0 to 1. */
  late: z.number(),
})
export type DelayHour = z.infer<typeof DelayHour>
export const delays = view('delays', { key: 'origin', row: DelayHour })

/** The same per state. */
export const StateHour = DelayHour.pick({ hour: true, flights: true, mean: true, late: true }).extend({
  state: z.string(),
})
export type StateHour = z.infer<typeof StateHour>
export const states = view('states', { key: 'state', row: StateHour })

/** Hours that are far from what the airport's last week was like. */
export const UnusualHour = DelayHour.pick({ origin: true, hour: true, flights: true, mean: true }).extend({
  /** Mean and standard deviation of the hourly means of the week that ends with this hour, and how many hours had flights. */
  usual: z.number(),
  deviation: z.number(),
  hours: z.number().int(),
})
export type UnusualHour = z.infer<typeof UnusualHour>
export const unusual = view('unusual', { key: 'origin', row: UnusualHour })
