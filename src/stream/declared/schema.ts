// What a declared processor can be configured with. Validation, `myelin list`, and completion in editors come from here.
import { z } from 'zod'
import { messageOf } from '../../bus/internal.ts'
import { processorConfig } from '../processor-config.ts'
import { calendar, counted, hopping, session, sliding, tumbling, type WindowShape } from '../windows/index.ts'
import { aggregateSchema } from './aggregates.ts'
import { duration, expression, oneKey } from './schema-parts.ts'

const name = z.string().regex(/^[^\s.*>]+$/, 'expected a name without blanks, dots, * and >')

const source = z
  .strictObject({
    event: z
      .string()
      .regex(/^[^\s.*>]+\.[^\s.*>]+$/, 'expected <contract>.<event>, like flights.departed')
      .optional()
      .describe('a durable event: <contract>.<event>'),
    view: name.optional().describe('what another processor writes'),
    stream: name.optional().describe('any stream of JSON; with `subject`'),
    subject: z.string().optional().describe('which of its messages; a wildcard, if any, is the last token'),
  })
  .refine(
    ({ event, view, stream, subject }) =>
      [event, view, stream].filter((one) => one !== undefined).length === 1 &&
      (stream === undefined) === (subject === undefined),
    'expected { event }, { view }, or { stream, subject }',
  )

const shape = oneKey({
  tumbling: duration('side by side, each so long'),
  hopping: z
    .strictObject({ size: duration('how long'), every: duration('how often one begins') })
    .describe('of one length, so that an event is in several'),
  sliding: duration('one that ends with each event'),
  session: duration('events that follow each other within this time'),
  counted: z.number().int().positive().describe('so many events of a key'),
  calendar: z
    .strictObject({
      unit: z.enum(['day', 'week', 'month', 'year']),
      timeZone: z.string().describe('like Europe/Berlin'),
    })
    .describe('days, weeks, months or years as people of a time zone have them'),
})

/** The window that a declaration means. @throws MyelinError INVALID_OPTION */
export function windowShape(declared: z.output<typeof shape>): WindowShape {
  if (declared.tumbling !== undefined) return tumbling(declared.tumbling)
  if (declared.hopping !== undefined) return hopping(declared.hopping.size, { every: declared.hopping.every })
  if (declared.sliding !== undefined) return sliding(declared.sliding)
  if (declared.session !== undefined) return session(declared.session)
  if (declared.counted !== undefined) return counted(declared.counted)
  const { unit, timeZone } = declared.calendar!
  return calendar(unit, { timeZone })
}

/** As `time`: when the server stored it. */
export const storedTime = '$stored'

export const Declared = z
  .strictObject({
    name: name.optional().describe("its name, of its checkpoints and error output; default: the unit's"),
    from: source.describe('what it reads'),
    where: expression('JSONata: only values for which this is true').optional(),
    map: expression('JSONata: what becomes of each value; what follows reads that').optional(),
    time: z
      .union([z.literal(storedTime), expression('JSONata')])
      .optional()
      .describe(`JSONata: when it happened, RFC 3339 with a zone or unix ms; ${storedTime}: when the server stored it`),
    outOfOrder: duration('how much events may be out of order without being late').default(0),
    maxAhead: duration('an event that claims to happen so long after it was stored is refused').default('1d'),
    key: expression('JSONata: what belongs together; default: the field that `to.key` names').optional(),
    window: shape
      .superRefine((declared, context) => {
        try {
          windowShape(declared)
        } catch (error) {
          context.addIssue({ code: 'custom', message: messageOf(error) })
        }
      })
      .optional()
      .describe('how time is cut; without it an aggregate grows with each event'),
    lateness: duration('how long a closed window still takes late events').default(0),
    emit: z
      .union([z.enum(['closed', 'update']), z.strictObject({ early: duration('so often in event time') })])
      .default('closed')
      .describe(
        'when rows go out: when the window is closed, at every update, or { early: 10m }: so often in event time',
      ),
    as: name.default('start').describe("the row's field for the window's start"),
    aggregate: z
      .record(name, aggregateSchema)
      .refine((aggregates) => Object.keys(aggregates).length > 0, 'expected at least one')
      .optional()
      .describe('by field of the row; without it each value is a row'),
    to: z
      .strictObject({
        view: name.describe('its name'),
        key: name.describe("the row's field that holds the key"),
        maxAge: duration('older rows are forgotten').optional(),
        replicas: z.number().int().min(1).max(5).optional().describe('copies that a cluster keeps of the view'),
      })
      .describe('where the rows go'),
    partitions: z.number().int().min(1).max(1_024).default(1).describe('into how many parts keys are cut'),
    checkpointMs: z.number().int().positive().default(1_000).describe('how often state is stored'),
    replay: processorConfig.optional().describe('time travel: the same again under another name'),
  })
  .superRefine(({ window, aggregate, time }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if (window && !aggregate) wrong('aggregate', 'a window is for aggregates; name some')
    if (window && window.counted === undefined && time === undefined)
      wrong('time', `windows are cut by time; say where it is, or ${storedTime}`)
  })

export type Declared = z.output<typeof Declared>
