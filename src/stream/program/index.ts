// The words of a program.
export { KeyedStream } from './keyed.ts'
export { Node, Plan, Sink } from './node.ts'
export { type KeyedRow, Rows, withKey } from './rows.ts'
export { Stream, type TimeOptions, type Timing } from './stream.ts'
export { type Change, Table } from './table.ts'
export { WindowedStream } from './windowed.ts'
