// Commands as they travel: who wants what of which instances, and what each instance answers.
// Subject: `ctl.<site>.<unit>.<instance or _all>.<verb>`; only controllers may publish there, see permissions.ts.
import { z } from 'zod'

export const verbs = [
  'start',
  'pause',
  'resume',
  'drain',
  'stop',
  'restart',
  'configure',
  'scale',
  'reset',
  'loglevel',
  'check',
] as const
/** `check` asks whether a command would be obeyed and its configuration fits, and changes nothing. */
export type Verb = (typeof verbs)[number]

export const everyInstance = '_all'
export const commandSubject = (site: string, unit: string, instance: string, verb: Verb) =>
  `ctl.${site}.${unit}.${instance}.${verb}`

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** What a command carries besides its verb. */
export const CommandArgs = z.object({
  config: z.record(z.string(), z.unknown()).optional(),
  /**
   * True: `config` is the whole configuration, whatever the composition says; false: keys on top of the composition's.
   * Absent: keys on top of what is configured.
   */
  exact: z.boolean().optional(),
  replicas: z.number().int().min(0).max(1_000).optional(),
  level: z.enum(logLevels).optional(),
})
export type CommandArgs = z.infer<typeof CommandArgs>

export const Command = z.object({
  /** The same command sent twice is carried out once. */
  id: z.string().min(1).max(100),
  by: z.string().max(200),
  /** When it was given, unix ms; one that comes too late is refused. */
  at: z.number(),
  /** Revision of the desired state that it belongs to; 0: it changes none. */
  revision: z.number().int().min(0).default(0),
  /** Fencing token of the controller that leads; a lower one than seen before is refused. */
  token: z.number().int().optional(),
  args: CommandArgs.default({}),
  /** With `check`: which command is going to be given. */
  for: z.enum(verbs).optional(),
})
export type Command = z.infer<typeof Command>

/** One instance's answer. */
export interface Ack {
  readonly id: string
  readonly site: string
  readonly unit: string
  readonly instance: string
  readonly ok: boolean
  /** Its state before and after. */
  readonly from: string
  readonly to: string
  readonly revision: number
  readonly error?: { readonly code: string; readonly message: string }
}
