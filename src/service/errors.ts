// Errors on the wire: ADR-32's two headers for any NATS tool, and a JSON body { code, message, data } for programs.
import { failure, type HeaderReader, header, headerLine, isErrorCode, MyelinError } from '../bus/index.ts'
import { type EndpointDefinition, parse } from '../contract/index.ts'

/** An error that the endpoint's contract declares; `data` has the type of its schema. */
export class DeclaredError<Code extends string = string, Data = unknown> extends MyelinError {
  override readonly name = 'DeclaredError'
  declare readonly code: Code
  declare readonly data: Data
}

interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly data?: unknown
}

/** What may leave the service: its own refusals and declared errors as they are; of anything else only that it failed. */
export function publicError(error: unknown, where: string, endpoint: EndpointDefinition): MyelinError {
  // an error of a nested call is this service's internal affair, unless its own contract declares it as well
  if (error instanceof DeclaredError && Object.hasOwn(endpoint.errors ?? {}, error.code)) return error
  if (error instanceof RefusalError) return error
  return failure('INTERNAL', `${where} failed`, { cause: error })
}

/** An error that this service itself answers with: bad input, overload, a passed deadline. */
export class RefusalError extends MyelinError {}

export function refusal(error: MyelinError): RefusalError {
  return new RefusalError(error.code, error.message, { data: error.data, retriable: error.retriable, cause: error })
}

export function encodeError(error: MyelinError): { data: Uint8Array; headerLines: string } {
  const body: ErrorBody = {
    code: error.code,
    message: error.message,
    ...(error.data === undefined ? {} : { data: error.data }),
  }
  return {
    data: Buffer.from(JSON.stringify(body)),
    headerLines: headerLine(header.error, error.message) + headerLine(header.errorCode, error.code),
  }
}

/** The error that a reply carries, if it does. */
export function errorOf(
  headers: HeaderReader,
  data: Uint8Array,
  endpoint: EndpointDefinition,
  where: string,
): MyelinError | undefined {
  const code = headers.get(header.errorCode)
  if (code === undefined) return undefined
  const told = headers.get(header.error) ?? `${where} failed`
  const body = bodyOf(data)
  const schema = endpoint.errors?.[code]
  if (schema) {
    try {
      const detail = parse(schema, body?.data, 'INVALID_REPLY', `${where}: data of error ${code}`)
      return new DeclaredError(code, told, { data: detail })
    } catch (error) {
      return error as MyelinError
    }
  }
  return new MyelinError(isErrorCode(code) ? code : 'INTERNAL', isErrorCode(code) ? told : `${code}: ${told}`, {
    data: body?.data,
  })
}

function bodyOf(data: Uint8Array): ErrorBody | undefined {
  try {
    return JSON.parse(Buffer.from(data).toString()) as ErrorBody
  } catch {
    return undefined
  }
}
