// The aggregates that a declared processor can name. One more is one more entry of `kinds`: its schema, and how it is made.
import { z } from 'zod'
import * as from from '../aggregates/index.ts'
import type { Item } from './item.ts'
import { expression, oneKey } from './schema-parts.ts'

/** What an aggregate reads of each event, and what that must be. */
export interface Reading {
  /** `delay`, or by the option's name where there are several. */
  readonly name: string
  readonly text: string
  readonly type: 'number' | 'boolean' | 'scalar' | 'any'
}

type Read = (item: Item) => never
type Made = from.AnyAggregate<Item>

interface Kind<Given = never> {
  readonly schema: z.ZodType
  readings(given: Given): readonly Reading[]
  /** `read[i]` gives what the reading `i` found. */
  make(given: Given, read: readonly Read[]): Made
}

/** `mean: delay` */
const of = (type: Reading['type'], what: string, make: (read: Read) => Made): Kind<string> => ({
  schema: expression(what),
  readings: (text) => [{ name: '', text, type }],
  make: (_given, [read]) => make(read!),
})

/** `quantile: { q: 0.95, of: delay }` */
const withOptions = <Options extends z.ZodRawShape>(
  type: Reading['type'],
  what: string,
  options: Options,
  make: (read: Read, given: z.output<z.ZodObject<Options>>) => Made,
): Kind<{ of: string }> => ({
  schema: z.strictObject({ ...options, of: expression('of each event') }).describe(what),
  readings: (given) => [{ name: 'of', text: given.of, type }],
  make: (given, [read]) => make(read!, given as unknown as z.output<z.ZodObject<Options>>),
})

const q = z.number().min(0).max(1)
const k = z.number().int().min(1).max(10_000)
const relativeError = z.number().gt(0).lt(1).optional().describe('of the value, 0.01 unless another number is given')
const spread = { kind: z.enum(['sample', 'population']).default('sample').describe('divide by n - 1, or by n') }

const kinds = {
  count: { schema: z.literal(true).describe('how many events'), readings: () => [], make: () => from.count() },
  sum: of('number', 'the sum', from.sum),
  mean: of('number', 'the arithmetic mean', from.mean),
  min: of('number', 'the least', from.min),
  max: of('number', 'the greatest', from.max),
  share: of('boolean', 'the share of events for which it is true, 0 to 1', from.share),
  first: of('any', 'of the event that happened first', from.first),
  last: of('any', 'of the event that happened last', from.last),
  distinct: of('scalar', 'how many different values; an estimate beyond 256', from.distinct),
  distinctExact: of('scalar', 'how many different values', from.distinctExact),
  stddev: withOptions('number', 'the standard deviation', spread, from.stddev),
  variance: withOptions('number', 'the variance', spread, from.variance),
  quantile: withOptions('number', 'an exact quantile; keeps all values', { q }, (read, given) =>
    from.quantile(given.q, read),
  ),
  quantiles: withOptions('number', 'several exact quantiles', { qs: z.array(q).min(1) }, (read, given) =>
    from.quantiles(given.qs, read),
  ),
  quantileSketch: withOptions(
    'number',
    'a quantile of any number of events',
    { q, relativeError },
    (read, { q, relativeError }) => from.quantileSketch(q, read, relativeError === undefined ? {} : { relativeError }),
  ),
  top: withOptions('number', 'the greatest so many, greatest first', { k }, (read, given) =>
    from.top<Item>(given.k, read),
  ),
  mostFrequent: withOptions('scalar', 'the values that most events have', { k }, (read, given) =>
    from.mostFrequent(given.k, read),
  ),
  collect: withOptions(
    'any',
    'what each event has, in event time',
    { max: z.number().int().min(1).max(1_000_000).default(1_000) },
    (read, given) => from.collect(read, { max: given.max }),
  ),
} satisfies Record<string, Kind>

export const aggregateSchema = oneKey(
  Object.fromEntries(Object.entries(kinds).map(([name, { schema }]) => [name, schema])),
)

/** An aggregate as declared: what it reads, and how it is made of that. */
export function declaredAggregate(declared: Readonly<Record<string, unknown>>): {
  readonly kind: string
  /** All that is said of it. */
  readonly text: string
  readonly readings: readonly Reading[]
  make(read: readonly Read[]): Made
} {
  const [kind, given] = Object.entries(declared)[0]!
  const { readings, make } = kinds[kind as keyof typeof kinds] as Kind
  const said = given === true ? '' : typeof given === 'string' ? given : JSON.stringify(given)
  return {
    kind,
    text: `${kind}(${said})`,
    readings: readings(given as never),
    make: (read) => make(given as never, read),
  }
}
