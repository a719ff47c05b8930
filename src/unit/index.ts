// What a runner runs, and what it gives to what it runs.
export { createLogger, type Logger, type LogTarget } from './log.ts'
export { Opened, openAll } from './opened.ts'
export { type ServeOptions, serve } from './serve.ts'
export {
  defineUnit,
  type EndpointMetrics,
  type HealthCheck,
  isUnit,
  type RunningUnit,
  type Unit,
  type UnitContext,
  type UnitMetrics,
  type Vitals,
} from './unit.ts'
