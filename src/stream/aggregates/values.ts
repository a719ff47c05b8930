// What aggregates take from events, checked: one bad value would make a whole window's row wrong, and silently.
import { failure, type MyelinError } from '../../bus/internal.ts'
import { checkKept } from '../json.ts'

/** Values that are equal when they look the same, in memory as in JSON. */
export type Scalar = string | number | boolean

/** Hot path: about 1 ns more than `of`. @throws MyelinError INVALID_INPUT for anything but a finite number */
export function numberOf<T>(aggregate: string, of: (value: T) => number): (value: T) => number {
  return (value) => {
    const number = of(value)
    if (Number.isFinite(number)) return number
    throw refused(aggregate, of, number, 'a finite number')
  }
}

/** @throws MyelinError INVALID_INPUT for anything but a string, a finite number or a boolean */
export function scalarOf<T, V extends Scalar>(aggregate: string, of: (value: T) => V): (value: T) => V {
  return (value) => {
    const scalar = of(value)
    if (typeof scalar === 'string' || Number.isFinite(scalar) || typeof scalar === 'boolean') return scalar
    throw refused(aggregate, of, scalar, 'a string, a finite number or a boolean')
  }
}

/** @throws MyelinError INVALID_INPUT for what JSON has no word for: undefined, NaN, bigints, functions */
export function presentOf<T, V>(aggregate: string, of: (value: T) => V): (value: T) => V {
  return (value) => {
    const present = of(value)
    switch (typeof present) {
      case 'string':
      case 'object':
      case 'boolean':
        return present
      case 'number':
        if (Number.isFinite(present)) return present
    }
    throw refused(aggregate, of, present, 'a value that JSON has a word for, or null')
  }
}

/**
 * For `check`: whether what `of` says can be kept in checkpoints and emitted in rows.
 * @throws MyelinError INVALID_INPUT for undefined, BigInt, functions, Map, Set, cycles and what is nested too deep
 */
export function keepableOf<T>(aggregate: string, of: (value: T) => unknown): (value: T) => void {
  const read = presentOf(aggregate, of)
  return (value) => checkKept(`${aggregate}: what it is given`, read(value), 'emitted')
}

/** What an aggregate may keep: anything that JSON has a word for. */
export type Present = NonNullable<unknown> | null

/** @throws MyelinError INVALID_INPUT when adding a value has left the range of doubles */
export function inRange(aggregate: string, number: number): number {
  if (Number.isFinite(number)) return number
  throw failure('INVALID_INPUT', `${aggregate}: with this value it would be beyond 1.8e308, which no number can hold`)
}

/** For merges, which must not throw: what is beyond the range of doubles becomes its end. */
export function clamped(number: number): number {
  return Math.min(Math.max(number, -Number.MAX_VALUE), Number.MAX_VALUE)
}

/** @throws MyelinError INVALID_OPTION */
export function checkQuantile(aggregate: string, q: number): void {
  if (q >= 0 && q <= 1) return
  throw failure('INVALID_OPTION', `${aggregate}: a quantile is a number from 0 to 1, got ${q}`)
}

/** @throws MyelinError INVALID_OPTION */
export function checkWhole(what: string, number: number, least: number, most: number): void {
  if (Number.isInteger(number) && number >= least && number <= most) return
  throw failure('INVALID_OPTION', `${what}: expected a whole number from ${least} to ${most}, got ${number}`)
}

/** The function's text tells which of several aggregates it was. */
function refused(aggregate: string, of: unknown, got: unknown, expected: string): MyelinError {
  const text = String(of).replace(/\s+/g, ' ')
  const shown = typeof got === 'string' ? `"${got.slice(0, 40)}"` : typeof got === 'object' && got ? 'an object' : got
  return failure(
    'INVALID_INPUT',
    `${aggregate}: expected ${expected}, got ${String(shown)} from ${text.length > 80 ? `${text.slice(0, 79)}…` : text}`,
  )
}
