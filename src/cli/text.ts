// Reading what was typed and writing what is found.
import { readFile } from 'node:fs/promises'
import { text as readAll } from 'node:stream/consumers'
import { type FewCopies, failure, MyelinError, messageOf } from '../bus/internal.ts'
import { type Duration, durationMs } from '../contract/internal.ts'
import { parseSelector, type Selector } from '../heartbeat/index.ts'

/** What was typed cannot be meant: the command ends with exit code 2, as for an unknown option. */
export class UsageError extends MyelinError {
  constructor(message: string, cause?: unknown) {
    super('INVALID_INPUT', message, { cause })
  }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
export const printJson = (value: unknown) => print(JSON.stringify(value))
/** Readable for people at a terminal, a line each for programs. */
export const printValue = (value: unknown, json: boolean | undefined) =>
  print(JSON.stringify(value, undefined, json || !process.stdout.isTTY ? undefined : 2))

/** Columns as wide as they need to be. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  // names and reasons are others': none of them may move the cursor or end its line
  const lines = [head, ...rows].map((row) => row.map((cell) => String(cell).replace(/\p{Cc}/gu, '·')))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** How long, in the largest unit that says enough. */
export function ago(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)}m`
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)}h` : `${Math.round(seconds / 86_400)}d`
}

/** Bytes as people read them. */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

/** Event time as ISO 8601. */
export const instant = (ms: number | 'end' | null) =>
  ms === null ? '-' : ms === 'end' ? 'end' : new Date(ms).toISOString()

/** A payload as typed: JSON text, `@file`, or `-` for stdin. @throws MyelinError INVALID_INPUT, FILE_NOT_FOUND */
export async function payload(typed: string | undefined): Promise<unknown> {
  if (typed === undefined) return {}
  const source =
    typed === '-'
      ? await readAll(process.stdin)
      : typed.startsWith('@')
        ? await readFile(typed.slice(1), 'utf8').catch((cause) => {
            throw failure('FILE_NOT_FOUND', `${typed.slice(1)} cannot be read`, { cause })
          })
        : typed
  try {
    return JSON.parse(source)
  } catch (cause) {
    throw new UsageError(`the payload is not JSON: ${messageOf(cause)}; for example '{"iata":"ATL"}'`, cause)
  }
}

/** `airports.get` in its two parts. @throws MyelinError INVALID_INPUT */
export function twoParts(name: string, form: string): [string, string] {
  const [first, second, ...rest] = name.split('.')
  if (!first || !second || rest.length > 0) throw new UsageError(`"${name}": expected ${form}`)
  return [first, second]
}

/** Milliseconds from `500ms`, `2s`, `1m`, or a bare number. @throws MyelinError INVALID_INPUT */
export function milliseconds(typed: string): number {
  try {
    return durationMs((/^\d+(\.\d+)?$/.test(typed) ? `${typed}ms` : typed) as Duration, typed)
  } catch {
    throw new UsageError(`"${typed}": expected a duration like 500ms, 2s, 10m, 1h or 7d`)
  }
}

/** A number as typed. @throws MyelinError INVALID_INPUT */
export function whole(typed: string | undefined, what: string): number {
  if (!/^[1-9]\d*$/.test(typed ?? '')) throw new UsageError(`${what}: expected a whole number, got "${typed}"`)
  return Number(typed)
}

/** A selector as typed. @throws UsageError */
export function selectorOf(words: readonly string[]): Selector {
  try {
    return parseSelector(words)
  } catch (error) {
    throw new UsageError(messageOf(error), error)
  }
}

/** Which streams are kept fewer times than wanted, in one line; empty where none is. */
export function fewCopies(few: readonly FewCopies[]): string {
  if (few.length === 0) return ''
  const some = few.slice(0, 8).map(({ stream, replicas, wanted }) => `${stream} (${replicas} of ${wanted})`)
  const more = few.length > 8 ? ` and ${few.length - 8} more` : ''
  return `fewer replicas than wanted: ${some.join(', ')}${more}; their units raise them when they start and may, or an operator does`
}
