// What JSON has a word for. Rows and state travel as JSON: a value that it cannot write, or that it would give back as
// something else, is refused before it is anywhere, together with the message that brought it.
import { failure, type MyelinError, messageOf } from '../bus/internal.ts'

/** Arrays and objects in each other; writers and readers of JSON run out of stack at a few thousand. */
export const maxDepth = 1_000

/**
 * Whether JSON is nested deeper than {@link maxDepth}. Each level takes two bytes, so most messages need no look; the
 * others take about 1 ns per byte.
 */
export function tooDeep(json: Uint8Array): boolean {
  if (json.length <= 2 * maxDepth) return false
  let depth = 0
  let quoted = false
  for (let i = 0; i < json.length; i++) {
    const byte = json[i]
    if (quoted) {
      if (byte === 92) i += 1
      else if (byte === 34) quoted = false
    } else if (byte === 34) quoted = true
    else if (byte === 91 || byte === 123) {
      depth += 1
      if (depth > maxDepth) return true
    } else if (byte === 93 || byte === 125) depth -= 1
  }
  return false
}

/** @throws MyelinError INVALID_INPUT where a value cannot be written as JSON; `what` names it */
export function jsonBytes(what: string, value: unknown): Buffer {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw failure('INVALID_INPUT', `${what} cannot be written as JSON: ${messageOf(cause).split('\n', 1)[0]}`, {
      cause,
    })
  }
  if (text === undefined) throw failure('INVALID_INPUT', `${what} cannot be written as JSON: it is ${typeof value}`)
  const bytes = Buffer.from(text)
  if (tooDeep(bytes)) throw failure('INVALID_INPUT', `${what} is nested more than ${maxDepth} deep`)
  return bytes
}

/** What becomes of a value that is kept: only emitted in a row, or given to the program again after a restart. */
export type Kept = 'emitted' | 'given back'

/**
 * Values that are kept are in checkpoints. Hot path: 2 ns for numbers and texts, about 20 ns per field of an object.
 * `most`: of large values only so many parts are looked at.
 * @throws MyelinError INVALID_INPUT for what JSON cannot write (BigInt, functions, cycles, more than 1,000 levels) or would
 *   lose (Map, Set, undefined); of what is given back also for what would come back as something else (Date, NaN, classes)
 */
export function checkKept(what: string, value: unknown, kept: Kept, most = Number.POSITIVE_INFINITY): void {
  const type = typeof value
  if (type === 'string' || type === 'boolean' || value === null || (type === 'number' && kept === 'emitted')) return
  looks = most
  const problem = problemOf(value, kept, 0)
  if (problem !== undefined) throw unfit(what, problem)
}

/** How many more parts of a value are looked at. */
let looks = 0

function unfit(what: string, problem: string): MyelinError {
  return failure('INVALID_INPUT', `${what} cannot be kept: ${problem}`)
}

function problemOf(value: unknown, kept: Kept, depth: number): string | undefined {
  looks -= 1
  if (looks < 0) return undefined
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return kept === 'emitted' || Number.isFinite(value) ? undefined : `JSON has no word for ${value}`
    case 'undefined':
      // a field that is undefined is one that is not there
      return depth === 0 ? 'it is undefined' : undefined
    case 'object':
      return value === null ? undefined : problemOfObject(value, kept, depth)
    default:
      return `JSON has no word for a ${typeof value}`
  }
}

function problemOfObject(value: object, kept: Kept, depth: number): string | undefined {
  // a cycle is an endless depth
  if (depth >= maxDepth) return `it is nested more than ${maxDepth} deep, or contains itself`
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const problem = problemOf(value[i], kept, depth + 1)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const name = prototype.constructor?.name ?? 'class'
    if (kept === 'given back') return `a ${name} would come back as something else; keep its parts, a number or a text`
    if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return undefined
    if (Symbol.iterator in value || ArrayBuffer.isView(value)) return `JSON has no word for a ${name}`
  }
  for (const name in value) {
    const problem = problemOf((value as Record<string, unknown>)[name], kept, depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}
