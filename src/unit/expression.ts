// Expressions in what is declared (processors, mappings, conditions): JSONata, and plain field paths without it. Bounded, since the value of one
// event must not hold up all others; and pure, since a replay must come to the same result.
import { failure, messageOf } from '../bus/internal.ts'

/** Where an expression is written, for people: `aggregate.late.share`. */
export interface Expression {
  readonly name: string
  readonly text: string
  /** Reads the value at once: a plain field path. */
  readonly plain?: (value: unknown) => unknown
  /** Everything else. @throws MyelinError INVALID_INPUT */
  readonly evaluate?: (value: unknown) => Promise<unknown>
}

const fieldPath = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/
const reserved = new Set(['and', 'or', 'in', 'true', 'false', 'null', 'function'])

// JSONata's own guards. Depth and length are the same wherever a value is evaluated; time is not, so that an evaluation
// that ran out of it (a machine that slept?) gets a second chance.
const limits = { stack: 500, sequence: 10_000, timeout: 1_000 }
const outOfTime = 'D1012'

/** What gives another result in a replay, or hides such a thing. */
const impure: Readonly<Record<string, string>> = {
  now: 'tells when it is evaluated',
  millis: 'tells when it is evaluated',
  random: 'is random',
  shuffle: 'is random',
  eval: 'hides what is evaluated',
}

const pathOf = (text: string): readonly string[] | undefined => {
  const trimmed = text.trim()
  if (!fieldPath.test(trimmed)) return undefined
  const steps = trimmed.split('.')
  return steps.some((step) => reserved.has(step)) ? undefined : steps
}

/** Why a text cannot be an expression, or undefined. */
export async function problemOf(text: string): Promise<string | undefined> {
  if (pathOf(text)) return undefined
  try {
    await parsed(text)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

export async function compile(name: string, text: string): Promise<Expression> {
  const path = pathOf(text)
  if (path) return { name, text, plain: getter(path) }
  const expression = await parsed(text)
  const evaluate = async (value: unknown) => {
    const once = () => expression.evaluate(value)
    try {
      const result = await once().catch((error) => (codeOf(error) === outOfTime ? once() : Promise.reject(error)))
      if (isFunction(result)) throw new Error('it gives a function')
      return result
    } catch (cause) {
      throw failure('INVALID_INPUT', `${name}: ${reasonOf(cause)} (in ${text})`, { cause })
    }
  }
  return { name, text, evaluate }
}

/** The library is loaded when there is something for it. */
async function parsed(text: string) {
  const { default: jsonata } = await import('jsonata')
  let expression: ReturnType<typeof jsonata>
  try {
    expression = jsonata(text, limits)
  } catch (cause) {
    throw failure('INVALID_OPTION', `not an expression: ${reasonOf(cause)} (in ${text})`, { cause })
  }
  const name = impureIn(expression.ast())
  if (name) throw failure('INVALID_OPTION', `$${name} ${impure[name]}: a replay would not give the same (in ${text})`)
  return expression
}

function impureIn(node: unknown, seen = new Set<unknown>()): string | undefined {
  if (typeof node !== 'object' || node === null || seen.has(node)) return undefined
  seen.add(node)
  const { type, value } = node as { type?: unknown; value?: unknown }
  if (type === 'variable' && typeof value === 'string' && Object.hasOwn(impure, value)) return value
  for (const child of Object.values(node)) {
    const found = impureIn(child, seen)
    if (found) return found
  }
  return undefined
}

// the library throws plain objects
const codeOf = (error: unknown) => (error as { code?: unknown } | undefined)?.code
const reasonOf = (error: unknown) => {
  const { message } = (error ?? {}) as { message?: unknown }
  return typeof message === 'string' ? message : messageOf(error)
}
const isFunction = (value: unknown) =>
  typeof value === 'object' && value !== null && ('_jsonata_lambda' in value || '_jsonata_function' in value)

/** What JSONata's path gives: through arrays it is what all their items have there. Hot path: about 10 ns a step. */
function getter(path: readonly string[]): (value: unknown) => unknown {
  const last = path.length - 1
  return (value) => {
    let at = value
    for (let i = 0; i <= last; i++) {
      if (Array.isArray(at)) return through(at, path, i)
      if (at === null || typeof at !== 'object' || !Object.hasOwn(at, path[i]!)) return undefined
      at = (at as Record<string, unknown>)[path[i]!]
    }
    return at
  }
}

/** A path from an array on, step by step as JSONata's evaluator does it. */
function through(array: readonly unknown[], path: readonly string[], from: number): unknown {
  let items: readonly unknown[] = from === 0 ? [array] : array
  for (let i = from; i < path.length; i++) {
    const found: unknown[] = []
    let own = true // an array that stands in the value, not one of what was found in several places
    for (const item of items) {
      const fields = Array.isArray(item) ? inAll(item, path[i]!) : inOne(item, path[i]!)
      if (fields.length === 0) continue
      own = fields.length === 1
      found.push(own ? fields[0] : fields)
    }
    if (i === path.length - 1 && found.length === 1 && own && Array.isArray(found[0])) return found[0]
    items = found.flat()
  }
  return items.length > 1 ? items : items[0]
}

function inOne(item: unknown, name: string): unknown[] {
  if (item === null || typeof item !== 'object' || !Object.hasOwn(item, name)) return []
  const found = (item as Record<string, unknown>)[name]
  return found === undefined ? [] : [found]
}

/** What is found under a name however deep in arrays, as one list. */
const inAll = (array: readonly unknown[], name: string): unknown[] =>
  array.flatMap((item) => (Array.isArray(item) ? inAll(item, name) : inOne(item, name).flat()))

/** JSONata's idea of what is true. */
export function truthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(truthy)
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}
