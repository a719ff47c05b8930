// Durations as people write them in contracts: '500ms', '1s', '10m', '1h', '7d', or a number of milliseconds.
import { failure } from '../bus/index.ts'

export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** @throws MyelinError INVALID_CONTRACT, naming `where` */
export function durationMs(duration: Duration, where: string): number {
  if (typeof duration === 'number' && Number.isFinite(duration) && duration >= 0) return duration
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(duration))
  if (!match)
    throw failure(
      'INVALID_CONTRACT',
      `${where}: "${duration}" is not a duration; write 500, '500ms', '1s', '10m', '1h' or '7d'`,
    )
  return Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs]
}
