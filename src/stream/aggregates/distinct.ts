// How many different values there were: exactly, in memory for all of them; or nearly, in memory for none.
import { failure } from '../../bus/internal.ts'
import type { Aggregate } from './aggregate.ts'
import { emptyRegisters, estimate, mergeRegisters, observe, type Registers } from './hyper-log-log.ts'
import { checkWhole, type Scalar, scalarOf } from './values.ts'

export interface DistinctOptions {
  /** 2^precision registers of a byte, 4 to 18: the error is 1.04 / √(2^precision), so 1.6 % for 12. */
  readonly precision?: number
  /** How many different values are kept and counted exactly before it becomes an estimate. */
  readonly exactUpTo?: number
}

/**
 * How many different values (texts, numbers, booleans; 1 and '1' are different) the events have. Exact up to `exactUpTo`
 * (256 unless another number is given), in memory for those values; beyond that an estimate in 4 KiB (2^`precision` bytes, a third
 * more in checkpoints) with a standard error of 1.6 % (1.04 / √(2^`precision`)): 1 window in 20 is further off than twice
 * that.
 *
 * A HyperLogLog with 64-bit hashes: Flajolet et al. (2007), with the estimator of Ertl (2017).
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is something else
 * @example
 * .aggregate({ visitors: distinct((click) => click.visitor, { precision: 14 }) }) // 0.8 %, 16 KiB
 */
export function distinct<T>(
  of: (value: T) => Scalar,
  { precision = 12, exactUpTo = 256 }: DistinctOptions = {},
): Aggregate<T, Set<Scalar> | Registers, number> {
  checkWhole('distinct: precision', precision, 4, 18)
  checkWhole('distinct: exactUpTo', exactUpTo, 0, 1_000_000)
  const read = scalarOf('distinct', of)
  type State = Set<Scalar> | Registers
  const admit = (state: State, scalar: Scalar): State => {
    if (state instanceof Set) {
      state.add(scalar)
      return state.size > exactUpTo ? registersOf(state, precision) : state
    }
    observe(state, scalar)
    return state
  }
  const admitAll = (state: State, scalars: Set<Scalar>): State => {
    let now = state
    for (const scalar of scalars) now = admit(now, scalar)
    return now
  }
  return {
    kind: 'distinct',
    init: () => new Set(),
    add: (state, value) => admit(state, read(value)),
    result: (state) => (state instanceof Set ? state.size : estimate(state)),
    // the fewer into the more: sessions merge with one event at a time
    merge: (a, b) => {
      if (!(a instanceof Set)) return b instanceof Set ? admitAll(a, b) : mergeRegisters(a, b)
      if (!(b instanceof Set)) return admitAll(b, a)
      return a.size >= b.size ? admitAll(a, b) : admitAll(b, a)
    },
    check: read,
    save: (state) => (state instanceof Set ? [...state] : Buffer.from(state).toString('base64')),
    load: (saved) => {
      if (typeof saved !== 'string') return new Set(saved as Scalar[])
      const registers = new Uint8Array(Buffer.from(saved, 'base64'))
      if (registers.length === 2 ** precision) return registers
      throw failure(
        'STREAM_MISMATCH',
        `distinct: the checkpoint's precision is ${Math.log2(registers.length)}, the program's ${precision}; give the old one, or begin again`,
      )
    },
  }
}

/**
 * How many different values (texts, numbers, booleans; 1 and '1' are different) the events have, exactly. Memory for all
 * of them, which are in each checkpoint after a change: for thousands, not millions; see `distinct`.
 *
 * @throws MyelinError INVALID_INPUT while adding: the value is something else
 * @example
 * .aggregate({ gates: distinctExact((flight) => flight.gate) })
 */
export function distinctExact<T>(of: (value: T) => Scalar): Aggregate<T, Set<Scalar>, number> {
  const read = scalarOf('distinctExact', of)
  return {
    kind: 'distinctExact',
    init: () => new Set(),
    add: (scalars, value) => scalars.add(read(value)),
    result: (scalars) => scalars.size,
    merge: (a, b) => {
      const [more, fewer] = a.size >= b.size ? [a, b] : [b, a]
      for (const scalar of fewer) more.add(scalar)
      return more
    },
    check: read,
    save: (scalars) => [...scalars],
    load: (saved) => new Set(saved as Scalar[]),
  }
}

function registersOf(scalars: Set<Scalar>, precision: number): Registers {
  const registers = emptyRegisters(precision)
  for (const scalar of scalars) observe(registers, scalar)
  return registers
}
