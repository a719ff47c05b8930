// Control plane: desired state, commands that every instance acknowledges, and the record of both.
export { Agent, type Controlled, type ControlledHost } from './agent.ts'
export { type AuditEntry, audit } from './audit.ts'
export { type Ack, Command, type CommandArgs, logLevels, type Verb, verbs } from './command.ts'
export { type CommandOutcome, type CommandRequest, command } from './controller.ts'
export { type Desired, type DesiredEntry, type DesiredPatch, DesiredStates } from './desired.ts'
export { type Permissions, permissions } from './permissions.ts'
