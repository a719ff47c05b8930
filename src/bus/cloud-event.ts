// Events on the wire: CloudEvents 1.0 in either mode of the NATS binding, or plain JSON. In binary mode the attributes
// are headers and the payload is the message; in structured mode the message is the whole event as JSON. Whoever reads
// events reads them here.
// Source: https://github.com/cloudevents/spec, bindings/nats-protocol-binding.md (main) and formats/json-format.md.
import { codecFor, readJsonObject } from './codec.ts'
import { failure } from './errors.ts'
import { type HeaderReader, header } from './headers.ts'
import { parseTime, timeForm } from './time.ts'

/** An event's payload and what identifies it. */
export interface ReadEvent {
  readonly payload: unknown
  readonly id: string | undefined
  readonly time: string | undefined
}

const json = 'application/json'

/**
 * The payload of an event's message. Hot path: of JSON it costs a look at the headers, and nothing is cut out of them.
 * @throws MyelinError MALFORMED_PAYLOAD, also when the headers say that it is an event and its id or time is none
 * @example const order = readPayload(readHeaders(message), message.data)
 */
export function readPayload(headers: HeaderReader, data: Uint8Array): unknown {
  const type = typeOf(headers)
  if (isStructured(type)) return readStructured(type, data).payload
  const attributed = checkAttributes(headers)
  return codecFor(type ?? (attributed ? dataType(headers) : undefined)).decode(data)
}

/**
 * An event's payload, id and time. @throws MyelinError MALFORMED_PAYLOAD
 * @example const { payload, id, time } = readEvent(readHeaders(message), message.data)
 */
export function readEvent(headers: HeaderReader, data: Uint8Array): ReadEvent {
  const type = typeOf(headers)
  if (isStructured(type)) return readStructured(type, data)
  const { id, time } = readAttributes(headers)
  return { payload: codecFor(type ?? dataType(headers)).decode(data), id, time }
}

const dataType = (headers: HeaderReader) => attribute(headers, 'ce-datacontenttype')

/** The id and the time of an event in binary mode, as far as it has them. @throws MyelinError MALFORMED_PAYLOAD */
function readAttributes(headers: HeaderReader): { id: string | undefined; time: string | undefined } {
  const id = attribute(headers, 'ce-id')
  const time = attribute(headers, 'ce-time')
  if (id === '') throw malformed('ce-id is empty')
  checkTime(time)
  return { id, time }
}

const idLine = '\nce-id:'
/** An id and a time as we write them, one after the other. */
const plainLines =
  /\nce-id: ?[!#$&-~][^\n%]*\nce-time: ?\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?Z\r/y
/** Any attribute, in any case. */
const anyLine = /\nce-/i

/**
 * As {@link readAttributes}, for those who want the payload alone. Hot path: a message without headers costs nothing, one
 * of ours 60 ns, without a text being made of its headers. False: it has no attributes at all.
 * @throws MyelinError MALFORMED_PAYLOAD
 */
function checkAttributes(headers: HeaderReader): boolean {
  const { text } = headers
  if (text === '') return false
  plainLines.lastIndex = text.indexOf(idLine)
  if (plainLines.lastIndex > 0 && plainLines.test(text)) return true
  if (!anyLine.test(text)) return false
  readAttributes(headers)
  return true
}

const typeLine = '\ncontent-type:'
const jsonRest = 'application/json\r'

/** The content type; the one that nearly all have is told without being cut out. */
function typeOf(headers: HeaderReader): string | undefined {
  const at = headers.text.indexOf(typeLine)
  return at > 0 && headers.text.startsWith(jsonRest, at + typeLine.length) ? json : headers.get(header.contentType)
}

/**
 * The payload of an event's message as JSON text, without a copy where it is that already. What is no JSON and of an
 * unknown type is given as it is.
 * @throws MyelinError MALFORMED_PAYLOAD for what says that it is an event and is none
 */
export function payloadText(headers: HeaderReader | undefined, data: Uint8Array): Uint8Array | string {
  if (!headers) return data
  const type = typeOf(headers)
  if (isStructured(type)) return JSON.stringify(readStructured(type, data).payload) ?? 'null'
  checkAttributes(headers)
  if (type === undefined || type === json) return data
  try {
    return JSON.stringify(codecFor(type).decode(data)) ?? 'null'
  } catch {
    return data
  }
}

/**
 * All attributes of an event in either mode as texts, `data` apart, for showing them; undefined where there are none.
 * @throws MyelinError MALFORMED_PAYLOAD for what says that it is an event and is none
 */
export function eventAttributes(headers: HeaderReader, data: Uint8Array): Readonly<Record<string, string>> | undefined {
  const type = typeOf(headers)
  let pairs: [string, unknown][]
  if (isStructured(type)) {
    readStructured(type, data)
    pairs = Object.entries(readJsonObject(data) ?? {}).filter(([name]) => name !== 'data' && name !== 'data_base64')
  } else {
    readAttributes(headers)
    const names = Object.keys(headers.all()).filter((name) => /^ce-/i.test(name))
    pairs = names.map((name) => [name.slice(3).toLowerCase(), attribute(headers, name)])
  }
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && typeof value !== 'object')
  return shown.length === 0 ? undefined : Object.fromEntries(shown.map(([name, value]) => [name, String(value)]))
}

/** `application/cloudevents`, with any format and parameters, in any case. */
function isStructured(type: string | undefined): type is string {
  return type !== undefined && type !== json && structuredForm.test(type)
}
const structuredForm = /^application\/cloudevents\b/i
const jsonFormat = /^application\/cloudevents(\+json)?\s*(;|$)/i

function readStructured(type: string, data: Uint8Array): ReadEvent {
  if (!jsonFormat.test(type))
    throw malformed(
      `content-type "${type.slice(0, 80)}": of the event formats only application/cloudevents+json is read`,
    )
  const event = readJsonObject(data)
  if (!event) throw malformed('a structured event is a JSON object, and this is none')
  if (event.specversion !== '1.0') throw malformed(`specversion ${shown(event.specversion)} is not 1.0`)
  for (const name of ['id', 'source', 'type'] as const) {
    if (typeof event[name] !== 'string' || event[name] === '')
      throw malformed(`${name}: expected a text, got ${shown(event[name])}`)
  }
  const { time, datacontenttype: dataType } = event
  if (time !== undefined && time !== null && typeof time !== 'string')
    throw malformed(`time: expected a text, got ${shown(time)}`)
  if (dataType !== undefined && dataType !== null && typeof dataType !== 'string')
    throw malformed(`datacontenttype: expected a text, got ${shown(dataType)}`)
  checkTime(time ?? undefined)
  return { payload: structuredPayload(event, dataType ?? undefined), id: event.id as string, time: time ?? undefined }
}

function structuredPayload(event: Record<string, unknown>, type: string | undefined): unknown {
  const { data_base64: encoded } = event
  if (encoded === undefined || encoded === null) return event.data
  if (event.data !== undefined) throw malformed('an event has data or data_base64, not both')
  if (typeof encoded !== 'string' || !base64Form.test(encoded)) throw malformed('data_base64 is not base64')
  const bytes = new Uint8Array(Buffer.from(encoded, 'base64'))
  try {
    return codecFor(type).decode(bytes)
  } catch (error) {
    if (type === undefined || knownForm.test(type)) throw error
    return bytes // of a type that only the receiver knows
  }
}
const base64Form = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const knownForm = /^application\/(json|msgpack|octet-stream|[^;]+\+json)\s*(;|$)/i

// a run of events often has one time
let lastTime: string | undefined

function checkTime(time: string | undefined): void {
  if (time === undefined || time === lastTime) return
  if (time.length < 20 || parseTime(time) === undefined) throw malformed(`time ${shown(time)} is not ${timeForm}`)
  lastTime = time
}

/** An attribute of an event in binary mode, decoded. */
function attribute(headers: HeaderReader, name: string): string | undefined {
  const value = headers.get(name)
  if (value === undefined || (!value.includes('%') && !value.startsWith('"'))) return value
  return decodeAttribute(value)
}

const unfit = /[^\x21-\x7e]|["%]/
const unfitAll = /[^\x21-\x7e]|["%]/gu

/** An attribute's value as a header wants it: percent-encoded where it is not printable ASCII, a blank, `"` or `%`. */
export function encodeAttribute(value: string): string {
  return unfit.test(value) ? value.toWellFormed().replace(unfitAll, percents) : value
}
const percents = (character: string) =>
  Array.from(Buffer.from(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')

/** @throws MyelinError MALFORMED_PAYLOAD when what is encoded is no UTF-8 */
function decodeAttribute(value: string): string {
  const bare = value.length > 1 && value.startsWith('"') && value.endsWith('"') ? unquoted(value) : value
  return bare.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded)
    } catch {
      throw malformed(`${shown(value)} has percent-encoded bytes that are no UTF-8`)
    }
  })
}
/** Text in quotes, which older senders wrote. */
const unquoted = (value: string) => value.slice(1, -1).replace(/\\(.)/g, '$1')

const shown = (value: unknown) => (JSON.stringify(value) ?? 'nothing').slice(0, 80)
const malformed = (why: string) => failure('MALFORMED_PAYLOAD', `not a valid CloudEvent: ${why}`)
