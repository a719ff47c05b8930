// The message that an event is sent as, and what its publisher may say of it.
import type { TraceContext } from '../bus/internal.ts'

export interface PublishOptions {
  /** The event's identity (`ce-id`); for durable events also the deduplication id. Default: a new one. */
  id?: string
  /** When it happened (`ce-time`): a Date, or RFC 3339 with a zone. Default: now. */
  time?: Date | string
  /** How long storing a durable event may take, waits for a full stream included. Default 30 s. */
  timeoutMs?: number
  /** Ends the wait; the event may have been stored by then. */
  signal?: AbortSignal
  /** The trace it belongs to. Default: that of the active span, else of the work it is published in. */
  trace?: TraceContext | undefined
}

/** The exact message that `publish` would send. */
export interface EncodedEvent {
  readonly subject: string
  readonly data: Uint8Array
  readonly headerLines: string
}
