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
