// Heartbeat: beats, health checks, the failure detector, and the live registry.
export {
  type Beat,
  type BeatVitals,
  beatSubject,
  type CheckResult,
  type CheckStatus,
  type Origin,
  stateOn,
  type UnitState,
} from './beat.ts'
export { Checks, diskCheck, lagCheck, natsCheck, pingCheck } from './checks.ts'
export { PhiDetector, type Suspicion } from './detector.ts'
export {
  conditionOf,
  Fleet,
  type FleetChange,
  type FleetOptions,
  fleet,
  type Member,
  type MemberStatus,
  type Transition,
} from './fleet.ts'
export { announceFleet, fleetEvents } from './fleet-events.ts'
export { type HealthOptions, type HealthServer, type Observed, serveHealth } from './http.ts'
export { Pulse, type PulseOptions, type PulseSource } from './pulse.ts'
export { matches, parseSelector, type Selector } from './selector.ts'
