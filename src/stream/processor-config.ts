// How a processor is configured when it is run: another name, a span of time, with effects or without.
import { z } from 'zod'
import { parseTime, timeForm } from '../bus/internal.ts'

const instant = z
  .string()
  .refine((text) => parseTime(text) !== undefined, { error: `expected ${timeForm}` })
  .meta({ examples: ['2001-07-01', '2001-07-01T12:00:00Z'] })

/** What every processor can be configured with. */
export const processorConfig = z.object({
  as: z
    .string()
    .min(1)
    .optional()
    .describe('another name for it, its checkpoints and its views: the same program again'),
  from: instant.optional().describe('count only what happened from this time on, by event time'),
  until: instant.optional().describe('and only until this time'),
  effects: z
    .boolean()
    .optional()
    .describe('false: views only; jobs, events, buckets and whatever else is done outside is left out'),
})
export type Config = z.output<typeof processorConfig>

/** The span of event time that counts. */
export function spanOf({ from, until }: Config): { span?: { fromMs: number; untilMs: number } } {
  if (from === undefined && until === undefined) return {}
  return {
    span: {
      fromMs: from === undefined ? Number.NEGATIVE_INFINITY : parseTime(from)!,
      untilMs: until === undefined ? Number.POSITIVE_INFINITY : parseTime(until)!,
    },
  }
}
