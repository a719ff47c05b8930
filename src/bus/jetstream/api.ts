// JetStream's management calls through the client library, and its error codes turned into ours.
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { PermissionViolationError } from '@nats-io/nats-core'
import type { Bus } from '../bus.ts'
import { isRecord, readJsonObject } from '../codec.ts'
import { failure, MyelinError, messageOf } from '../errors.ts'
import { perConnection } from '../per-connection.ts'

const managers = perConnection((bus) => jetstreamManager(bus.nats, { checkAPI: false }))

/** The JetStream manager of a connection; waits while it is disconnected, where a request would only be lost. */
export async function manager(bus: Bus): Promise<JetStreamManager> {
  await bus.whenConnected()
  return managers(bus)
}

// Codes of nats-server's server/errors.json: no more room in the stream, the account or the host.
const fullCodes = new Set([10002, 10023, 10028, 10047, 10077, 10122])
// JetStream temporarily unavailable; the server asked does not lead; no server leads the stream
const noLeaderCodes = new Set([10008, 10009, 10202])
/** A message with this id was taken and is not agreed upon yet: the cluster lost its majority in between. */
const undecidedCode = 10158
const wrongSequenceCodes = new Set([10071, 10164])

/** The `error` member of a JetStream API reply or publish acknowledgement. */
export interface JetStreamReplyError {
  readonly code: number
  readonly err_code?: number
  readonly description?: string
}

/** The server's word on a publish or a batch. */
export interface Acknowledgement {
  readonly stream: string
  readonly sequence: number
  readonly duplicate: boolean
  readonly error?: JetStreamReplyError
}

/**
 * Reads the server's acknowledgement of what was published; undefined when the message is none. Anybody may subscribe
 * to a subject that a stream takes and answer there, before or after the server does.
 */
export function readAcknowledgement(data: Uint8Array): Acknowledgement | undefined {
  const reply = readJsonObject(data)
  if (!reply) return undefined
  const { error, stream, seq } = reply
  const refused = isRecord(error) && typeof error.code === 'number'
  if (!refused && !(typeof stream === 'string' && Number.isSafeInteger(seq) && (seq as number) > 0)) return undefined
  return {
    stream: refused ? '' : (stream as string),
    sequence: refused ? 0 : (seq as number),
    duplicate: reply.duplicate === true,
    ...(refused ? { error: error as unknown as JetStreamReplyError } : {}),
  }
}

/** Turns what JetStream said into a MyelinError; `where` names the stream or subject it happened to. */
export function replyFailure(error: JetStreamReplyError, where: string): MyelinError {
  const text = `${where}: ${error.description ?? 'refused'} (JetStream ${error.err_code ?? error.code})`
  const options = { data: { jetstreamCode: error.err_code ?? error.code } }
  const code = error.err_code ?? 0
  if (wrongSequenceCodes.has(code)) return failure('WRONG_SEQUENCE', text, options)
  if (/per subject exceeded/i.test(error.description ?? '')) return failure('ALREADY_QUEUED', text, options)
  if (
    fullCodes.has(code) ||
    /maximum (messages|bytes)|no space|insufficient|error creating store for/i.test(error.description ?? '')
  ) {
    return failure('STREAM_FULL', text, options)
  }
  if (noLeaderCodes.has(code)) return failure('NO_LEADER', text, options)
  if (code === undecidedCode) return failure('DEADLINE_EXCEEDED', `${text}: an earlier try is not decided yet`, options)
  if (code === 10059) return failure('STREAM_NOT_FOUND', text, options)
  if (code === 10039 || code === 10076 || error.code === 503) return failure('JETSTREAM_DISABLED', text, options)
  return failure('INTERNAL', text, options)
}

/** Turns what a management call threw into a MyelinError. */
export function apiFailure(error: unknown, where: string): MyelinError {
  if (error instanceof MyelinError) return error
  if (error instanceof JetStreamApiError) {
    return replyFailure({ code: error.status, err_code: error.code, description: error.message }, where)
  }
  const message = messageOf(error)
  if (error instanceof PermissionViolationError || /permissions violation/i.test(message)) {
    return failure('PERMISSION_DENIED', `${where}: ${message}`, { cause: error })
  }
  if (/jetstream.*not enabled|no responders/i.test(message)) {
    return failure('JETSTREAM_DISABLED', `${where}: ${message}`, { cause: error })
  }
  if (/timeout/i.test(message))
    return failure('DEADLINE_EXCEEDED', `${where}: JetStream did not answer`, { cause: error })
  return failure('DISCONNECTED', `${where}: ${message}`, { cause: error })
}
