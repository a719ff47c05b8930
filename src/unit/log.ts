// Logging as units see it: pino's calls, one line of JSON per event on stderr, secrets redacted.
import { destination, type Logger as Pino, pino } from 'pino'

export type Logger = Pick<Pino, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  child(bindings: object): Logger
}

/** A logger for a process; the level comes from `MYELIN_LOG` (default `info`). */
export function createLogger(bindings: Record<string, string> = {}): Logger {
  return pino(
    {
      level: process.env.MYELIN_LOG ?? 'info',
      base: bindings,
      redact: {
        paths: ['token', 'password', 'nkeySeed', 'creds', '*.token', '*.password', '*.nkeySeed', '*.creds'],
        censor: '[secret]',
      },
    },
    destination({ dest: 2, sync: true }),
  )
}
