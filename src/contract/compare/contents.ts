// What objects and lists hold, of one JSON Schema against another: the part of the comparison that goes deeper.
import { isOpen, type JsonObject, matches } from './forms.ts'
import { type Gap, gap } from './gap.ts'

/** The gaps between two schemas, each in its own document. */
export type Compare = (from: unknown, to: unknown) => readonly Gap[]

const within = (name: string, gaps: readonly Gap[]): Gap[] => gaps.map((one) => ({ ...one, path: [name, ...one.path] }))

const record = (value: unknown) => (value ?? {}) as JsonObject
const names = (value: unknown) => (Array.isArray(value) ? (value as string[]) : [])

/** Schemas that a property must fit: its own and those of patterns; else what holds for all others. */
function schemasFor(name: string, keywords: JsonObject): readonly unknown[] {
  const own = record(keywords.properties)
  const found = [
    ...(Object.hasOwn(own, name) ? [own[name]] : []),
    ...Object.entries(record(keywords.patternProperties)).flatMap(([pattern, schema]) =>
      matches(pattern, name) ? [schema] : [],
    ),
  ]
  return found.length > 0 ? found : [keywords.additionalProperties]
}

const isNamed = (name: string, keywords: JsonObject) => Object.hasOwn(record(keywords.properties), name)

export function objectGaps(a: JsonObject, b: JsonObject, compare: Compare): Gap[] {
  const gaps: Gap[] = []
  const [mine, theirs] = [record(a.properties), record(b.properties)]
  const always = new Set(names(a.required))
  for (const name of names(b.required)) {
    if (always.has(name)) continue
    const gone = !isNamed(name, a) && isNamed(name, b)
    gaps.push(gap('is required now', gone ? 'is removed' : 'may be missing now', [name]))
  }
  for (const [name, schema] of Object.entries(mine)) {
    if (schema === false) continue
    for (const target of schemasFor(name, b)) {
      if (target === false) gaps.push(gap('is not allowed any more', 'is new, and was not allowed before', [name]))
      else if (isOpen(target) && !isNamed(name, b)) {
        gaps.push({ ...gap('is not in the schema any more', 'is new', [name]), harmless: true })
      } else gaps.push(...within(name, compare(schema, target)))
    }
  }
  // what holds for properties without a name of their own, where such are meant to come
  const others = a.additionalProperties
  for (const [name, schema] of Object.entries(theirs)) {
    if (!isNamed(name, a) && others !== false && (always.has(name) || !isOpen(others)))
      gaps.push(...within(name, compare(others ?? {}, schema)))
  }
  for (const [pattern, schema] of Object.entries(record(b.patternProperties))) {
    const own = record(a.patternProperties)[pattern]
    if (own !== undefined || (others !== false && !isOpen(others)))
      gaps.push(...within('*', compare(own ?? others, schema)))
  }
  for (const [pattern, schema] of Object.entries(record(a.patternProperties))) {
    if (record(b.patternProperties)[pattern] === undefined) gaps.push(...otherGaps(schema, b, compare))
  }
  if (others !== false) gaps.push(...otherGaps(others, b, compare))
  if (b.propertyNames !== undefined && others !== false)
    gaps.push(...within('*', compare(a.propertyNames ?? { type: 'string' }, b.propertyNames)))
  return gaps
}

function otherGaps(schema: unknown, b: JsonObject, compare: Compare): Gap[] {
  if (b.additionalProperties === false)
    return [gap('other properties are not allowed any more', 'other properties may come now')]
  return within('*', compare(schema ?? {}, b.additionalProperties))
}

/** A list's first items one by one, and all after them. */
function itemsOf(keywords: JsonObject): { first: readonly unknown[]; rest: unknown } {
  if (Array.isArray(keywords.prefixItems)) return { first: keywords.prefixItems, rest: keywords.items }
  if (Array.isArray(keywords.items)) return { first: keywords.items, rest: keywords.additionalItems }
  return { first: [], rest: keywords.items }
}

export function arrayGaps(a: JsonObject, b: JsonObject, compare: Compare): Gap[] {
  const [mine, theirs] = [itemsOf(a), itemsOf(b)]
  const gaps: Gap[] = []
  const most = Math.min(
    Number(a.maxItems ?? Number.POSITIVE_INFINITY),
    mine.rest === false ? mine.first.length : Number.POSITIVE_INFINITY,
  )
  const counted = Math.min(Math.max(mine.first.length, theirs.first.length), most)
  for (let i = 0; i < counted; i++) {
    const [from, to] = [mine, theirs].map(({ first, rest }) => (i < first.length ? first[i] : rest))
    if (to === false) gaps.push(gap('is not allowed any more', 'is new', [`[${i}]`]))
    else gaps.push(...within(`[${i}]`, compare(from ?? {}, to)))
  }
  if (most <= counted) return gaps
  if (theirs.rest === false)
    gaps.push(gap(`may have ${counted} items at most now`, `may have more than ${counted} items now`))
  else gaps.push(...within('[]', compare(mine.rest ?? {}, theirs.rest)))
  return gaps
}
