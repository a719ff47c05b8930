// Errors on the wire: ADR-32's two headers for any NATS tool, a header with our code, and a JSON body
// { code, message, data } for programs. Whatever failed, what is sent fits and can be encoded: texts are cut, and data
// that does not fit or is no JSON is left out, with a note that says so.
import {
  boundedText,
  failure,
  type HeaderReader,
  header,
  headerLine,
  isErrorCode,
  MyelinError,
  messageOf,
  readJsonObject,
  textHeaderLine,
} from '../bus/internal.ts'
import { type EndpointDefinition, parse } from '../contract/internal.ts'
import { codeOfStatus, statusOf } from './status.ts'

/**
 * An error that the endpoint's contract declares; `data` has the type of its schema. Data that could not be sent (larger
 * than a message, or no JSON) is `undefined`, and the message says so.
 */
export class DeclaredError<Code extends string = string, Data = unknown> extends MyelinError {
  override readonly name = 'DeclaredError'
  declare readonly code: Code
  declare readonly data: Data
}

interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly data?: unknown
  /** Why there is no data though there was some. */
  readonly dataLeftOut?: string
}

/** What may leave the service: its own rejections and declared errors as they are; of anything else only that it failed. */
export function publicError(error: unknown, where: string, endpoint: EndpointDefinition): MyelinError {
  // an error of a nested call is this service's internal affair, unless its own contract declares it as well
  if (error instanceof DeclaredError && Object.hasOwn(endpoint.errors ?? {}, error.code)) return error
  if (error instanceof RejectionError) return error
  return failure('INTERNAL', `${where} failed`, { cause: error })
}

/** An error that this service itself answers with: invalid input, overload, a passed deadline. */
export class RejectionError extends MyelinError {}

export function rejection(error: MyelinError): RejectionError {
  return new RejectionError(error.code, error.message, { data: error.data, retriable: error.retriable, cause: error })
}

/** The longest message an error reply carries, in its header and its body each. */
const maxMessageBytes = 2_048
/** Room for subjects, the stream's own header and the client library's framing. */
const reservedBytes = 128

/** An error as a message of at most `maxBytes`, headers included. Never throws. */
export function encodeError(error: MyelinError, maxBytes: number): { data: Uint8Array; headerLines: string } {
  // the smallest servers take 1 kB or so: a quarter for the text in the header, a quarter for the one in the body
  const message = boundedText(String(error.message), Math.min(maxMessageBytes, Math.floor(maxBytes / 4)))
  const headerLines =
    textHeaderLine(header.error, message) +
    headerLine(header.errorStatus, String(statusOf(error.code))) +
    headerLine(header.errorCode, error.code)
  const room = maxBytes - reservedBytes - Buffer.byteLength(headerLines)
  return { data: encodeBody({ code: error.code, message }, error.data, room), headerLines }
}

function encodeBody(body: ErrorBody, data: unknown, room: number): Uint8Array {
  if (data === undefined) return shorten(body, room)
  let why: string
  try {
    const whole = encode({ ...body, data })
    if (whole.length <= room) return whole
    why = `it makes the reply ${whole.length} bytes, there is room for ${room}`
  } catch (error) {
    why = `it cannot be written as JSON: ${messageOf(error)}`
  }
  return shorten({ ...body, dataLeftOut: boundedText(why, 200) }, room)
}

/** In JSON a control character is six; where that is too much the text gives way, the code never. */
function shorten(body: ErrorBody, room: number): Uint8Array {
  let encoded = encode(body)
  for (let bytes = maxMessageBytes; encoded.length > room && bytes > 1; bytes /= 2)
    encoded = encode({ ...body, message: boundedText(body.message, bytes) })
  return encoded
}

const encode = (body: ErrorBody) => Buffer.from(JSON.stringify(body))

/** The error that a reply carries, if it does. */
export function errorOf(
  headers: HeaderReader,
  data: Uint8Array,
  endpoint: EndpointDefinition,
  where: string,
): MyelinError | undefined {
  const status = headers.get(header.errorStatus)
  if (status === undefined) return undefined
  const body = readJsonObject(data) as Partial<ErrorBody> | undefined
  const code = headers.get(header.errorCode) ?? codeOfBody(body) ?? codeOfStatus(status)
  const text = headers.get(header.error) || `${where} failed`
  const message = typeof body?.dataLeftOut === 'string' ? `${text} (its data was left out: ${body.dataLeftOut})` : text
  const schema = Object.hasOwn(endpoint.errors ?? {}, code) ? endpoint.errors?.[code] : undefined
  if (schema) {
    if (body?.dataLeftOut !== undefined) return new DeclaredError(code, message)
    try {
      const detail = parse(schema, body?.data, 'INVALID_REPLY', `${where}: data of error ${code}`)
      return new DeclaredError(code, text, { data: detail })
    } catch (error) {
      return error as MyelinError
    }
  }
  return new MyelinError(isErrorCode(code) ? code : 'INTERNAL', isErrorCode(code) ? message : `${code}: ${message}`, {
    data: body?.data,
  })
}

/** Another program may know the body's form and not the header. */
const codeOfBody = (body: Partial<ErrorBody> | undefined) =>
  typeof body?.code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(body.code) ? body.code : undefined
