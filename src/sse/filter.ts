// What a client wants of a stream, as a small expression over the payload's fields: `delay>15,origin==ATL|ORD`.
//
//   filter    = condition *("," condition)            all of them must hold
//   condition = field operator value *("|" value)     one of the values must fit
//   field     = name *("." name)                      own fields of the payload only
//   operator  = "==" | "!=" | ">=" | "<=" | ">" | "<" | "^="       ("^=": begins with)
//   value     = number | true | false | null | text | '"' any text '"'
//
// Numbers compare as numbers, texts as texts (so ISO dates by time). A field that is not there fits only "!=".
import { failure } from '../bus/internal.ts'

export type Filter = (payload: unknown) => boolean

const maxLength = 500
const maxConditions = 20
const operators = ['==', '!=', '>=', '<=', '^=', '>', '<'] as const
type Operator = (typeof operators)[number]
/** A value as it was written, and as the number, boolean or null that it may be meant as. */
interface Value {
  readonly text: string
  readonly typed: string | number | boolean | null
}

// quoted texts are whole, so that they may hold commas and bars; the first operator ends the field
const condition = /^\s*([\w$-]+(?:\.[\w$-]+)*)\s*(==|!=|>=|<=|\^=|>|<)\s*(.*?)\s*$/s
const parts = (text: string, separator: ',' | '|') =>
  text.match(separator === ',' ? /(?:"(?:[^"\\]|\\.)*"|[^,"])+/gs : /(?:"(?:[^"\\]|\\.)*"|[^|"])+/gs) ?? []

/** Parses a filter. @throws MyelinError INVALID_FILTER, which names the part that is wrong */
export function parseFilter(text: string): Filter {
  if (text.length > maxLength) throw wrong(`it is longer than ${maxLength} characters`)
  const given = parts(text, ',')
  // what the pieces do not cover is a quote without its end, or an empty piece
  if (given.length === 0 || given.join(',') !== text)
    throw wrong(`${JSON.stringify(text)} has an empty condition or an open quote`)
  if (given.length > maxConditions) throw wrong(`it has more than ${maxConditions} conditions`)
  const conditions = given.map(parseCondition)
  return (payload) => conditions.every((holds) => holds(payload))
}

function parseCondition(text: string): Filter {
  const [, field, operator, rest] = condition.exec(text) ?? []
  if (!field || !operator) {
    throw wrong(`${JSON.stringify(text)} is not "field operator value" (operators: ${operators.join(' ')})`)
  }
  const path = field.split('.')
  const values = parts(rest ?? '', '|').map((value) => parseValue(value.trim()))
  if (values.length === 0) throw wrong(`${JSON.stringify(text)} has no value; for an empty text write ""`)
  if (operator === '!=') {
    return (payload) => {
      const found = fieldOf(payload, path)
      return values.every((value) => !fits(found, '==', value))
    }
  }
  return (payload) => {
    const found = fieldOf(payload, path)
    return found !== undefined && values.some((value) => fits(found, operator as Operator, value))
  }
}

function parseValue(text: string): Value {
  if (text.startsWith('"')) {
    try {
      const typed = JSON.parse(text) as string
      return { text: typed, typed }
    } catch {
      throw wrong(`${text} is not a quoted text`)
    }
  }
  const words: Record<string, boolean | null> = { true: true, false: false, null: null }
  if (Object.hasOwn(words, text)) return { text, typed: words[text]! }
  return { text, typed: text !== '' && Number.isFinite(Number(text)) ? Number(text) : text }
}

function fieldOf(payload: unknown, path: readonly string[]): unknown {
  let found = payload
  for (const name of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Record<string, unknown>)[name]
  }
  return found
}

function fits(found: unknown, operator: Operator, { text, typed }: Value): boolean {
  if (operator === '^=') return typeof found === 'string' && found.startsWith(text)
  // 0401 in a field of texts: what looks like a number is meant as a text there
  const wanted = typeof found === 'string' ? text : typed
  if (operator === '==') return found === wanted
  if (typeof found !== typeof wanted || (typeof found !== 'number' && typeof found !== 'string')) return false
  const other = wanted as typeof found
  if (operator === '>') return found > other
  if (operator === '>=') return found >= other
  if (operator === '<') return found < other
  return found <= other
}

const wrong = (why: string) => failure('INVALID_FILTER', `filter: ${why}; for example: filter=delay>15,origin==ATL|ORD`)
