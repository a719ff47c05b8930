// For sibling folders: what users have, and more.
export { compile, type Expression, problemOf, truthy } from './expression.ts'
export * from './index.ts'
export { keepLogs, logsStream } from './kept-logs.ts'
export { type Access, defineKind, nothingStored, type Stored, type UnitKind } from './kind.ts'
export { logSubject } from './log.ts'
export { allSettled } from './opened.ts'
export { parseConfig } from './serve.ts'
