// Logging as units see it: pino's calls, one line of JSON per event on stderr, secrets redacted; and the same lines on
// NATS for whoever listens.
import { destination, type LoggerOptions, multistream, type Logger as Pino, pino } from 'pino'
import { type Bus, messageOf, redact, redactText } from '../bus/internal.ts'

/** A pino logger; its fields are redacted, and it logs to the bus as well where the unit's runner says so. */
export type Logger = Pick<Pino, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  child(bindings: object): Logger
}

export const logSubject = (site: string, unit: string, instance: string) => `log.${site}.${unit}.${instance}`

/** Where lines go besides stderr. */
export interface LogTarget {
  readonly bus: Bus
  readonly site: string
}

const secrets = ['password', 'nkeySeed', 'creds']

/** Nothing that is logged shows a secret: fields, errors and their causes, and the text itself. */
const withoutSecrets: LoggerOptions = {
  formatters: { log: (fields) => redact(fields) as Record<string, unknown> },
  serializers: { err: (error) => redact({ ...pino.stdSerializers.err(error) }) },
  hooks: {
    logMethod(given, method) {
      const args = given[0] instanceof Error && given.length === 1 ? [{ err: given[0] }, messageOf(given[0])] : given
      const clean = args.map((one) => (typeof one === 'string' ? redactText(one) : one))
      method.apply(this, clean as Parameters<typeof method>)
    },
  },
  // what a child logger says with every line
  redact: { paths: secrets.flatMap((key) => [key, `*.${key}`]), censor: '[secret]' },
}

/**
 * A logger for a process. The level on stderr comes from `MYELIN_LOG` (default `info`); on NATS everything from `info`
 * on is published, or from the level a unit was told by the control plane.
 * @example const log = createLogger({ name: 'orders' })
 */
export function createLogger(bindings: Record<string, string> = {}, target?: LogTarget): Logger {
  const level = process.env.MYELIN_LOG ?? 'info'
  const stderr = destination({ dest: 2, sync: true })
  const options = {
    ...withoutSecrets,
    level,
    base: bindings,
  }
  if (!target || level === 'silent') return pino(options, stderr)
  const lower = pino.levels.values[level]! < pino.levels.values.info! ? level : 'info'
  return pino(
    { ...options, level: lower },
    multistream([
      { stream: stderr, level: level as 'info' },
      { stream: { write: (line) => publish(target, line) }, level: 'trace' },
    ]),
  )
}

function publish({ bus, site }: LogTarget, line: string): void {
  const { unit, instance } = JSON.parse(line) as { unit?: string; instance?: string }
  try {
    if (bus.connected) bus.post(logSubject(site, unit ?? '_runner', instance ?? '_'), Buffer.from(line.trimEnd()))
  } catch {
    // a log line must never be what fails; it is on stderr
  }
}
