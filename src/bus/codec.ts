// Payload encodings. JSON is the default and what other languages expect; the content-type header names any other.
import { encode as pack, decode as unpack } from '@msgpack/msgpack'
import { failure, messageOf } from './errors.ts'

/** Turns values into the bytes of a message and back. */
export interface Codec {
  /** The value of the `content-type` header; JSON sends none. */
  readonly contentType: string
  /** @throws MyelinError INVALID_INPUT when it has no such form: a cycle, a BigInt, a function */
  encode(value: unknown): Uint8Array
  /** @throws MyelinError MALFORMED_PAYLOAD */
  decode(bytes: Uint8Array): unknown
}

/** What others sent as JSON, or undefined when it is none: on shared subjects anybody may say anything. */
export function readJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch {
    return undefined
  }
}

/** As {@link readJson}, and undefined too when it is no object. */
export function readJsonObject(data: Uint8Array): Record<string, unknown> | undefined {
  const value = readJson(data)
  return isRecord(value) ? value : undefined
}

/** Whether a value is an object with names, neither null nor an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const empty = new Uint8Array(0)

const json: Codec = {
  contentType: 'application/json',
  encode: (value) => {
    if (value === undefined) return empty
    try {
      return Buffer.from(JSON.stringify(value))
    } catch (cause) {
      throw failure('INVALID_INPUT', `cannot be written as JSON: ${messageOf(cause).split('\n', 1)[0]}`, { cause })
    }
  },
  decode: (bytes) => {
    if (bytes.length === 0) return undefined
    try {
      // a Buffer view's toString: 0.3 µs for 128 bytes where TextDecoder takes 0.6 µs
      return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString())
    } catch (cause) {
      throw failure('MALFORMED_PAYLOAD', `not valid JSON: ${messageOf(cause)}`, { cause })
    }
  },
}

const msgpack: Codec = {
  contentType: 'application/msgpack',
  encode: (value) => {
    if (value === undefined) return empty
    try {
      return pack(value)
    } catch (cause) {
      throw failure('INVALID_INPUT', `cannot be written as MessagePack: ${messageOf(cause)}`, { cause })
    }
  },
  decode: (bytes) => {
    if (bytes.length === 0) return undefined
    try {
      return unpack(bytes)
    } catch (cause) {
      throw failure('MALFORMED_PAYLOAD', `not valid MessagePack: ${messageOf(cause)}`, { cause })
    }
  },
}

const raw: Codec = {
  contentType: 'application/octet-stream',
  encode: (value) => {
    if (value === undefined) return empty
    if (value instanceof Uint8Array) return value
    throw failure('INVALID_INPUT', `the raw codec takes a Uint8Array, got ${typeof value}`)
  },
  decode: (bytes) => bytes,
}

/** All codecs by name: `json`, `msgpack`, and `raw` for what is bytes already. */
export const codecs = { json, msgpack, raw } as const
/** The codecs there are. */
export type CodecName = keyof typeof codecs

const byContentType = new Map<string, Codec>(Object.values(codecs).map((codec) => [codec.contentType, codec]))

/**
 * The codec for a received `content-type`; parameters are ignored, none means JSON. @throws MALFORMED_PAYLOAD
 * @example const value = codecFor(headers.get('content-type')).decode(data)
 */
export function codecFor(contentType: string | undefined): Codec {
  if (contentType === undefined || contentType === json.contentType) return json
  const name = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const codec = byContentType.get(name) ?? (name.endsWith('+json') ? json : undefined)
  if (!codec) {
    throw failure(
      'MALFORMED_PAYLOAD',
      `content-type "${contentType}" is not known; known are ${[...byContentType.keys()].join(', ')}`,
    )
  }
  return codec
}
