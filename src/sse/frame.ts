// One event on its way to browsers: encoded once, sent to everyone.

/** A message as an event for browsers. */
export interface SseEvent {
  /** What clients pick by; later events of the same key replace the earlier, unless `row` says otherwise. */
  readonly key: string
  /** What later events replace, where several have one key. */
  readonly row?: string
  /** JSON text. */
  readonly data: Uint8Array | string
  /** The key is gone. */
  readonly deleted?: boolean
}

/** A message as `text/event-stream` bytes. */
export class Frame {
  /** Sequence in the stream; 0 for events that are not kept. */
  readonly sequence: number
  readonly key: string
  /** What later frames of the same row replace. */
  readonly row: string
  /** Says that the key is gone; every filter lets it through. */
  readonly deleted: boolean
  readonly bytes: Buffer
  readonly #dataAt: number
  #payload: unknown
  #parsed = false

  constructor(sequence: number, { key, row, deleted }: SseEvent, bytes: Buffer, dataAt: number) {
    this.sequence = sequence
    this.key = key
    this.row = row ?? key
    this.bytes = bytes
    this.deleted = deleted === true
    this.#dataAt = dataAt
  }

  /** The payload, parsed when a filter first asks for it; undefined if it is no JSON. */
  get payload(): unknown {
    if (!this.#parsed) {
      this.#parsed = true
      try {
        this.#payload = JSON.parse(this.bytes.toString('utf8', this.#dataAt).replaceAll('\ndata: ', '\n'))
      } catch {
        this.#payload = undefined
      }
    }
    return this.#payload
  }

  /** Lets go of the parsed payload: thousands of frames stay for clients that come back. */
  forgetPayload(): void {
    this.#payload = undefined
    this.#parsed = false
  }
}

/**
 * The bytes of an event. Source: WHATWG HTML, server-sent events.
 * Payloads are JSON text, which may hold line breaks between its tokens: each line becomes a `data` field.
 */
export function encodeFrame(name: string, sequence: number, event: SseEvent): Frame {
  const payload = event.data
  const text =
    typeof payload === 'string'
      ? payload
      : Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8')
  const data = /[\r\n]/.test(text) ? text.split(/\r\n|\r|\n/).join('\ndata: ') : text
  const head = `${sequence > 0 ? `id: ${sequence}\n` : ''}event: ${name}\ndata: `
  return new Frame(sequence, event, Buffer.from(`${head}${data}\n\n`), Buffer.byteLength(head))
}
