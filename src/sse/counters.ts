// What a stream has done for its clients since the gateway started.

export interface Counters {
  /** Events handed to clients' sockets. */
  delivered: number
  /** Bytes written, after compression. */
  bytes: number
  /** Events left out for slow clients, or replaced by a newer one of their key. */
  dropped: number
  /** Clients that were disconnected because they did not keep up. */
  slow: number
}

export const noCounts = (): Counters => ({ delivered: 0, bytes: 0, dropped: 0, slow: 0 })
