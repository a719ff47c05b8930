// For sibling folders.

export { compile, type Expression, problemOf, truthy } from './expression.ts'
export { type Access, defineKind, nothingStored, type Stored, type UnitKind } from './kind.ts'
