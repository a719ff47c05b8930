// Processors that are declared.
export { type Located, locate, type Named } from './locate.ts'
export { declaredProcessor } from './unit.ts'
