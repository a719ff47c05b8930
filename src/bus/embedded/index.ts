// The embedded engine: a real nats-server for the first five minutes, for tests, and for one machine.
export type { EmbeddedEvent, EmbeddedOptions } from './config.ts'
export { type EmbeddedNats, embeddedNats } from './embedded.ts'
export { type RunningServer, runningServer } from './lock.ts'
export { sharedServer } from './shared.ts'
