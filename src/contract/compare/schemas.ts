// Whether all values that one JSON Schema allows are allowed by another, and if not, which are not. Where that cannot be
// said (two patterns, `not`, `if`), the answer is that they may not be.
// A property that an object does not name counts as not sent: a new optional property is no danger to those who do not
// know it, unless their schema forbids other properties.
import { arrayGaps, type Compare, objectGaps } from './contents.ts'
import { type Form, formsOf, hasType, isOpen, type JsonObject, matches, same, type TypeForm } from './forms.ts'
import { type Gap, gap, real } from './gap.ts'
import type { SchemaIn } from './shape.ts'

/** What `from` allows and `to` does not; what `to` merely says nothing of is marked `harmless`. */
export function schemaGaps(from: SchemaIn, to: SchemaIn): readonly Gap[] {
  return new Comparison(from.root, to.root).compare(from.schema, to.schema)
}

/** Schemas that take more steps than this are nested choices beyond anybody's reading. */
const maxSteps = 20_000

class Comparison {
  readonly #from: unknown
  readonly #to: unknown
  /** Pairs under way: a recursive schema is as good as what it is made of. */
  readonly #underWay = new Map<unknown, Set<unknown>>()
  readonly #known = new Map<unknown, Map<unknown, readonly Gap[]>>()
  #assumed = 0
  #steps = 0

  constructor(fromRoot: unknown, toRoot: unknown) {
    this.#from = fromRoot
    this.#to = toRoot
  }

  readonly compare: Compare = (from, to) => {
    if (isOpen(to) || from === false) return []
    const known = this.#known.get(from)?.get(to)
    if (known) return known
    if (this.#underWay.get(from)?.has(to)) {
      this.#assumed++
      return []
    }
    if (++this.#steps > maxSteps) return [gap('is too deep to be compared', 'is too deep to be compared')]
    if (!this.#underWay.has(from)) this.#underWay.set(from, new Set())
    this.#underWay.get(from)!.add(to)
    const assumedBefore = this.#assumed
    const found = this.#between(from, to)
    this.#underWay.get(from)!.delete(to)
    if (this.#assumed === assumedBefore) {
      if (!this.#known.has(from)) this.#known.set(from, new Map())
      this.#known.get(from)!.set(to, found)
    }
    return found
  }

  #between(from: unknown, to: unknown): readonly Gap[] {
    const targets = formsOf({ schema: to, root: this.#to })
    const sources = formsOf({ schema: from, root: this.#from })
    if (isOpen(from)) return [gap(`must be ${listed(targets)} now`, 'may be anything now')]
    const gaps: Gap[] = []
    const values: Form[] = []
    for (const source of sources) {
      if ('value' in source) {
        if (!targets.some((target) => admits(target, source.value, this.#to))) values.push(source)
      } else gaps.push(...this.#best(source, targets))
    }
    if (values.length > 0) {
      const are = values.length > 1 ? 'are' : 'is'
      gaps.unshift(gap(`${listed(values)} ${are} not allowed any more`, `may be ${listed(values)} now`))
    }
    return gaps
  }

  /** The gaps to the alternative that comes nearest. */
  #best(source: TypeForm, targets: readonly Form[]): readonly Gap[] {
    let best: readonly Gap[] | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const target of targets) {
      if ('value' in target || !covers(target.type, source.type)) continue
      const gaps = this.#ofOneType(source, target)
      const count = gaps.filter(real).length
      if (count < fewest) [best, fewest] = [gaps, count]
      if (count === 0) break
    }
    if (best) return best
    const what = listed([source])
    const values = targets.filter((target) => 'value' in target && hasType(target.value, source.type))
    if (values.length > 0) return [gap(`must be ${listed(values)} now`, `may be any ${nameOf[source.type]} now`)]
    const whole = source.type === 'number' && targets.some((target) => 'type' in target && target.type === 'integer')
    if (whole) return [gap('must be a whole number now', 'may have decimals now')]
    return [gap(`${what} is not allowed any more; ${listed(targets)} is`, `may be ${what} now`)]
  }

  #ofOneType(from: TypeForm, to: TypeForm): Gap[] {
    const [a, b] = [from.keywords, to.keywords]
    const gaps: Gap[] = []
    switch (from.type) {
      case 'string':
        gaps.push(...limits(a, b, [['minLength', 'maxLength', 'characters']]))
        break
      case 'integer':
      case 'number':
        gaps.push(...rangeGaps(a, b, from.type === 'integer'))
        break
      case 'array':
        gaps.push(...limits(a, b, [['minItems', 'maxItems', 'items']]), ...arrayGaps(a, b, this.compare))
        break
      default:
        gaps.push(
          ...limits(a, b, [['minProperties', 'maxProperties', 'properties']]),
          ...objectGaps(a, b, this.compare),
        )
    }
    for (const [keyword, types] of Object.entries(comparedAsTheyAre)) {
      if (b[keyword] === undefined || b[keyword] === false || same(a[keyword], b[keyword])) continue
      if (types !== 'any' && types !== from.type) continue
      const text = typeof b[keyword] === 'string' ? ` ${b[keyword]}` : ''
      gaps.push(gap(`must fit the ${keyword}${text} now`, `need not fit the ${keyword}${text} any more`))
    }
    return gaps
  }
}

/** Keywords of which it is only asked whether both sides have the same. */
const comparedAsTheyAre: Readonly<Record<string, string>> = {
  ...{ pattern: 'string', format: 'string', contentEncoding: 'string', contentMediaType: 'string' },
  ...{ uniqueItems: 'array', contains: 'array', minContains: 'array', maxContains: 'array', unevaluatedItems: 'array' },
  ...{
    dependencies: 'object',
    dependentRequired: 'object',
    dependentSchemas: 'object',
    unevaluatedProperties: 'object',
  },
  ...Object.fromEntries(['not', 'if', 'then', 'else'].map((keyword) => [keyword, 'any'])),
}

const covers = (wide: string, type: string) => wide === type || (wide === 'number' && type === 'integer')

function limits(a: JsonObject, b: JsonObject, pairs: readonly [least: string, most: string, what: string][]): Gap[] {
  const gaps: Gap[] = []
  for (const [least, most, what] of pairs) {
    const [min, max] = [Number(b[least] ?? 0), Number(b[most] ?? Number.POSITIVE_INFINITY)]
    if (Number(a[least] ?? 0) < min)
      gaps.push(gap(`must have at least ${min} ${what} now`, `may have fewer than ${min} ${what} now`))
    if (Number(a[most] ?? Number.POSITIVE_INFINITY) > max)
      gaps.push(gap(`may have ${max} ${what} at most now`, `may have more than ${max} ${what} now`))
  }
  return gaps
}

/** The number that a bound allows last, and whether it is allowed itself. */
function bound(keywords: JsonObject, side: 'min' | 'max', whole: boolean): [value: number, open: boolean] {
  const [inclusive, exclusive] = side === 'min' ? ['minimum', 'exclusiveMinimum'] : ['maximum', 'exclusiveMaximum']
  const sign = side === 'min' ? 1 : -1
  const none = -sign * Number.POSITIVE_INFINITY
  const at = typeof keywords[inclusive] === 'number' ? (keywords[inclusive] as number) : none
  let beyond = typeof keywords[exclusive] === 'number' ? (keywords[exclusive] as number) : none
  if (whole && Number.isFinite(beyond)) {
    beyond = side === 'min' ? Math.floor(beyond) + 1 : Math.ceil(beyond) - 1
    return [sign * Math.max(sign * at, sign * beyond), false]
  }
  return sign * beyond >= sign * at && Number.isFinite(beyond) ? [beyond, true] : [at, false]
}

function rangeGaps(a: JsonObject, b: JsonObject, whole: boolean): Gap[] {
  const gaps: Gap[] = []
  for (const side of ['min', 'max'] as const) {
    const sign = side === 'min' ? 1 : -1
    const [was, wasOpen] = bound(a, side, whole)
    const [is, isOpenBound] = bound(b, side, whole)
    if (sign * was > sign * is || (was === is && (wasOpen || !isOpenBound))) continue
    const [narrow, wide] = side === 'min' ? ['above', 'below'] : ['below', 'above']
    const edge = isOpenBound ? `${narrow} ${is}` : `${is} or ${narrow}`
    gaps.push(
      gap(`must be ${edge} now`, `may be ${isOpenBound ? `${is} or ` : ''}${wide}${isOpenBound ? '' : ` ${is}`} now`),
    )
  }
  const step = b.multipleOf
  if (typeof step === 'number') {
    const steps = (typeof a.multipleOf === 'number' ? a.multipleOf : whole ? 1 : Number.NaN) / step
    if (!Number.isInteger(steps))
      gaps.push(gap(`must be a multiple of ${step} now`, `need not be a multiple of ${step} any more`))
  }
  return gaps
}

/** Whether an alternative allows a value. */
function admits(form: Form, value: unknown, root: unknown): boolean {
  if ('value' in form) return same(form.value, value)
  if (!hasType(value, form.type)) return false
  const exactly = { const: value }
  // a value is the narrowest schema: of text and numbers its own limits say all there is
  const { keywords } = form
  if (typeof value === 'string') {
    const length = [...value].length
    if (length < Number(keywords.minLength ?? 0) || length > Number(keywords.maxLength ?? Number.POSITIVE_INFINITY))
      return false
    return typeof keywords.pattern !== 'string' || matches(keywords.pattern, value)
  }
  if (typeof value === 'number')
    return (
      rangeGaps(
        { minimum: value, maximum: value, multipleOf: Math.abs(value) || undefined },
        keywords,
        Number.isInteger(value),
      ).length === 0
    )
  if (Array.isArray(value)) {
    const items = keywords.items ?? {}
    return value.every((one) => Array.isArray(items) || valueFits(one, items, root))
  }
  const required = (keywords.required ?? []) as readonly string[]
  const named = (keywords.properties ?? {}) as JsonObject
  const own = exactly.const as JsonObject
  return (
    required.every((name) => Object.hasOwn(own, name)) &&
    Object.entries(own).every(([name, one]) =>
      Object.hasOwn(named, name)
        ? valueFits(one, named[name], root)
        : valueFits(one, keywords.additionalProperties, root),
    )
  )
}

const valueFits = (value: unknown, schema: unknown, root: unknown) =>
  isOpen(schema) || formsOf({ schema, root }).some((form) => admits(form, value, root))

const nameOf: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'number',
  integer: 'whole number',
  array: 'list',
  object: 'object',
  boolean: 'boolean',
  null: 'null',
}
const withArticle = (type: string) =>
  type === 'string' || type === 'null' ? nameOf[type]! : `${type === 'object' ? 'an' : 'a'} ${nameOf[type]}`

/** Alternatives in words, the first few. */
function listed(forms: readonly Form[]): string {
  const words = [
    ...new Set(forms.map((form) => ('value' in form ? JSON.stringify(form.value) : withArticle(form.type)))),
  ]
  if (words.length === 0) return 'nothing'
  const some = words.slice(0, 6)
  const more = words.length > 6 ? ` and ${words.length - 6} more` : ''
  return some.length === 1 || more ? `${some.join(', ')}${more}` : `${some.slice(0, -1).join(', ')} or ${some.at(-1)}`
}
