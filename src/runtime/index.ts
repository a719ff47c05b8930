// From a composition file to running units: one lifecycle, supervised.
export { nearest } from '../bus/internal.ts'
export { builtInUnit, builtInUnits, unitKind } from './built-in.ts'
export {
  type Composition,
  type CompositionSpec,
  defineComposition,
  parseComposition,
  type UnitSpec,
} from './composition.ts'
export { compositionJsonSchema } from './composition-schema.ts'
export type { InstanceState, InstanceStatus } from './instance.ts'
export {
  checkUnits,
  compositionFiles,
  inOwnProcesses,
  type LoadedComposition,
  loadComposition,
  loadUnit,
  loadUnitOf,
} from './load.ts'
export { configHash, moduleHash, useName } from './origin.ts'
export { checkNames, type Running, type UpOptions, up } from './up.ts'
export { touchedUnits, watchFiles } from './watch.ts'
export { type ReadYaml, readYaml } from './yaml.ts'
