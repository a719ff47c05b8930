// What a runner runs, and what it gives to what it runs.
export { keepLogs, logsStream } from './kept-logs.ts'
export { createLogger, type Logger, type LogTarget, logSubject } from './log.ts'
export { allSettled, Opened, openAll } from './opened.ts'
export { parseConfig, type ServeOptions, serve } from './serve.ts'
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
