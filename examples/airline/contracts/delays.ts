// What the delays processor writes: one row per airport and hour of event time.
import { z } from 'zod'

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

/** What the states processor writes: the same per state. */
export const StateHour = DelayHour.pick({ hour: true, flights: true, mean: true, late: true }).extend({
  state: z.string(),
})
export type StateHour = z.infer<typeof StateHour>

/** What the unusual processor writes: hours that are far from what the airport's last week was like. */
export const UnusualHour = DelayHour.pick({ origin: true, hour: true, flights: true, mean: true }).extend({
  /** Mean and standard deviation of the hourly means of the week that ends with this hour, and how many hours had flights. */
  usual: z.number(),
  deviation: z.number(),
  hours: z.number().int(),
})
export type UnusualHour = z.infer<typeof UnusualHour>
