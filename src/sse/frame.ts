// One event on its way to browsers: encoded once, sent to everyone.

/** A message as `text/event-stream` bytes. */
export interface Frame {
  /** Sequence in the stream; 0 for events that are not kept. */
  readonly sequence: number
  /** What later frames of the same key replace. */
  readonly key: string
  readonly bytes: Buffer
}

/**
 * The bytes of an event. Source: WHATWG HTML, server-sent events.
 * Payloads are JSON text, which may hold line breaks between its tokens: each line becomes a `data` field.
 */
export function encodeFrame(event: string, sequence: number, key: string, payload: Uint8Array): Frame {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString()
  const data = /[\r\n]/.test(text) ? text.split(/\r\n|\r|\n/).join('\ndata: ') : text
  const id = sequence > 0 ? `id: ${sequence}\n` : ''
  return { sequence, key, bytes: Buffer.from(`${id}event: ${event}\ndata: ${data}\n\n`) }
}
