// Compositions of the unit `fixtures/units/counter.ts`, and what tests ask of them.
import { join } from 'node:path'
import {
  type CompositionSpec,
  type LoadedComposition,
  parseComposition,
  type Running,
} from '../../src/runtime/index.ts'

/** The units as a composition in the folder of fixtures. */
export const composed = (units: CompositionSpec['units']): LoadedComposition => ({
  composition: parseComposition({ name: 'test', units }, 'test'),
  file: 'test',
  folder: join(import.meta.dirname, '../fixtures'),
})

export const status = (running: Running, unit = 'counter') => running.status().find((s) => s.unit === unit)!
