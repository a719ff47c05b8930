// What the streams carry; see the contracts of the airline.

import type { DelayHour } from '../../../contracts/delays.ts'

export type { UnusualHour } from '../../../contracts/delays.ts'
export type { Progress } from '../../../contracts/flights.ts'
export type { Rebooked } from '../../../contracts/rebooking.ts'

/** One airport's last closed hour. */
export interface Row extends DelayHour {
  /** Nothing has left for a while. */
  stale?: boolean
}

const staleMs = 3 * 3_600_000

/** Whether a row is too old to say something about now. */
export function stale(row: Row, latestHour: string): boolean {
  return Date.parse(latestHour) - Date.parse(row.hour) > staleMs
}
