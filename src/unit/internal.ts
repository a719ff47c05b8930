// For sibling folders.
export { compile, type Expression, problemOf, truthy } from './expression.ts'
