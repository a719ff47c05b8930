// What the streams carry; see the contracts of the airline.

/** One airport's last closed hour. */
export interface Row {
  readonly origin: string
  readonly hour: string
  readonly flights: number
  readonly mean: number
  readonly p50: number
  readonly p95: number
  /** Share of flights more than 15 minutes late. */
  readonly late: number
  /** Nothing has left for a while. */
  stale?: boolean
}

export interface Progress {
  readonly clock: string
  readonly sent: number
  readonly total: number
  readonly perSecond: number
  readonly speed: number | 'max'
  readonly finished: boolean
}

export interface Rebooked {
  readonly flight: {
    readonly id: number
    readonly delay: number
    readonly origin: string
    readonly destination: string
  }
  readonly alternatives: readonly string[]
}

const staleMs = 3 * 3_600_000

/** Whether a row is too old to say something about now. */
export function stale(row: Row, latestHour: string): boolean {
  return Date.parse(latestHour) - Date.parse(row.hour) > staleMs
}
