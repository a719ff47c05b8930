// For one's own tests, with any test runner: a running world, waiting, and a processor's program on plain arrays.
export { type ProgramEffect, type ProgramResult, type RunProgramOptions, runProgram } from '../stream/index.ts'
export { until } from './until.ts'
export { start, type World, type WorldOptions, type WorldUnit } from './world.ts'
