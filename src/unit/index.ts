// What a host runs, and what it gives to what it runs.
export { createLogger, type Logger } from './log.ts'
export { defineUnit, isUnit, type RunningUnit, type Unit, type UnitHost } from './unit.ts'
