// How every command reaches a server, and how it tells what went wrong.
import { type Command, Option } from 'commander'
import { type Bus, type ConnectOptions, connect, MyelinError } from '../bus/internal.ts'
import { DeclaredError } from '../service/index.ts'
import { UsageError } from './text.ts'

export interface ConnectionFlags {
  server?: string
  creds?: string
  store?: string
  json?: boolean
}

/** Adds --server, --creds and --json to a command. */
export function withConnection(command: Command): Command {
  return command
    .addOption(
      new Option('-s, --server <url>', 'NATS server; default: the embedded server that runs in this folder').env(
        'NATS_URL',
      ),
    )
    .addOption(new Option('--creds <file>', 'credentials file').env('NATS_CREDS'))
    .option('--json', 'output for programs')
}

export function connectOptions(flags: ConnectionFlags): ConnectOptions {
  return {
    name: 'myelin-cli',
    embed: false,
    ...(flags.server ? { servers: flags.server } : {}),
    ...(flags.creds ? { credsFile: flags.creds } : {}),
  }
}

/** Runs `work` on a connection of its own, closed in any case. */
export async function onBus<Result>(flags: ConnectionFlags, work: (bus: Bus) => Promise<Result>): Promise<Result> {
  await using bus = await connect(connectOptions(flags))
  return await work(bus)
}

/** Says what went wrong on stderr, as text or as one JSON object, and sets the exit code. */
export function reportFailure(error: unknown, json: boolean): void {
  if (json) {
    const known = error instanceof MyelinError
    const report = {
      error: {
        code: known ? error.code : 'INTERNAL',
        message: error instanceof Error ? error.message : String(error),
        ...(known && error.data !== undefined ? { data: error.data } : {}),
      },
    }
    process.stderr.write(`${JSON.stringify(report)}\n`)
  } else if (error instanceof DeclaredError) process.stderr.write(`${error.message} ${JSON.stringify(error.data)}\n`)
  else if (error instanceof MyelinError) process.stderr.write(`${error.explain()}\n`)
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}

/** Resolves when a signal is aborted; at once when that was before anybody waited for it. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}

/** A signal that Ctrl-C aborts. */
export function interrupted(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort())
  return controller.signal
}

/**
 * Says on stderr that a command waits for what comes, and when the server went away meanwhile and came back.
 * Call the result when something came, or when it ends.
 */
export function sayWaiting(bus: Bus, what: string): { came(): void; stop(): void } {
  const say = (text: string) => process.stderr.write(`${text}\n`)
  const quiet = setTimeout(say, quietMs, `waiting for ${what}; Ctrl-C ends`)
  const forget = bus.on((event) => {
    if (event.type === 'disconnected') say(`the connection to ${bus.url} is lost; trying again`)
    else if (event.type === 'reconnected') say(`connected again to ${event.server}`)
  })
  const came = () => clearTimeout(quiet)
  return {
    came,
    stop: () => {
      came()
      forget()
    },
  }
}

const quietMs = 500
