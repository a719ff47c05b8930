// What schemas of declared things are made of.
import { z } from 'zod'
import { messageOf } from '../../bus/internal.ts'
import { type Duration, durationMs, durationText } from '../../contract/internal.ts'
import { problemOf } from '../../unit/internal.ts'

/** A JSONata expression, checked when the configuration is. */
export const expression = (what: string) =>
  z
    .string()
    .min(1)
    .superRefine(async (text, context) => {
      const problem = await problemOf(text)
      if (problem) context.addIssue({ code: 'custom', message: problem })
    })
    .describe(what)

const notDuration = 'expected a duration like 500ms, 10m or 7d, or milliseconds'

/** `10m`, or milliseconds. */
export const duration = (what: string) =>
  (
    z.union([z.number().min(0, notDuration), z.string().regex(durationText, notDuration)], {
      error: notDuration,
    }) as z.ZodType<Duration, Duration>
  )
    .superRefine((given, context) => {
      try {
        durationMs(given, 'duration')
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) })
      }
    })
    .describe(what)

/** An object with one of these keys: it says which, and what belongs to it. */
export const oneKey = <Shape extends z.ZodRawShape>(shape: Shape) => {
  const names = Object.keys(shape)
  return z
    .strictObject(
      Object.fromEntries(
        Object.entries(shape).map(([name, schema]) => [name, (schema as z.ZodType).optional()]),
      ) as unknown as {
        [Name in keyof Shape]: z.ZodOptional<Shape[Name]>
      },
      {
        error: (issue) =>
          issue.code === 'unrecognized_keys'
            ? `there is no "${issue.keys.join('", "')}"; there are: ${names.join(', ')}`
            : `expected one of: ${names.join(', ')}`,
      },
    )
    .refine((given) => Object.values(given).filter((value) => value !== undefined).length === 1, {
      error: `expected exactly one of: ${names.join(', ')}`,
    })
    .meta({ minProperties: 1, maxProperties: 1 })
}
