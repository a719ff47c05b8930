// Durations as people write them in contracts: '500ms', '1s', '10m', '1h', '7d', or a number of milliseconds.
import { failure } from '../bus/internal.ts'

/** A time span: milliseconds as a number, or text with a unit, as in `'250ms'`, `'5s'`, `'1.5h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitsMs = { ms: 1n, s: 1_000n, m: 60_000n, h: 3_600_000n, d: 86_400_000n } as const
/** A hundred years: longer ones are mistakes, and neither timers nor the server's nanoseconds could hold them. */
const longestMs = 36_525 * 86_400_000
/** How durations are written, as a pattern and for messages. */
export const durationText = /^(\d{1,16})(?:\.(\d{1,16}))?(ms|s|m|h|d)$/

/**
 * @throws MyelinError INVALID_CONTRACT, naming `where`
 * @example durationMs('1.5s', 'timeout') // 1500
 */
export function durationMs(duration: Duration, where: string): number {
  const ms = typeof duration === 'number' ? duration : parsed(duration)
  if (ms === undefined || !(ms >= 0)) {
    throw failure(
      'INVALID_CONTRACT',
      `${where}: ${shown(duration)} is not a duration; write 500, '500ms', '1s', '10m', '1h' or '7d'`,
    )
  }
  if (ms > longestMs) {
    throw failure('INVALID_CONTRACT', `${where}: ${shown(duration)} is longer than a hundred years ('36525d')`)
  }
  return ms + 0
}

/** As decimals, not as binary fractions: 1.005 s are 1,005 ms. */
function parsed(text: unknown): number | undefined {
  const [, whole, fraction = '', unit] = (typeof text === 'string' && durationText.exec(text)) || []
  if (whole === undefined) return undefined
  const scale = 10n ** BigInt(fraction.length)
  const scaled = BigInt(whole + fraction) * unitsMs[unit as keyof typeof unitsMs]
  // read as one decimal number: a sum of two rounded ones is not always the nearest
  return Number(`${scaled / scale}.${String(scaled % scale).padStart(fraction.length, '0')}`)
}

const shown = (given: unknown) => (typeof given === 'string' ? JSON.stringify(given.slice(0, 60)) : String(given))
