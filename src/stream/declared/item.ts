// A value on its way through a declared program: what its expressions found.
export interface Item {
  readonly value: unknown
  time: number | string
  key: number | string
  /** What aggregates read, in the order of their readings. */
  readonly values: unknown[]
}
