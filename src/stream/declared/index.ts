// Processors that are declared.

export { processorKind } from './kind.ts'
export { type Located, locate, type Named } from './locate.ts'
export { declaredProcessor } from './unit.ts'
