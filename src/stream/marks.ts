// Marks: what a partition tells the others of its clocks. A message in the processor's input stream, on a subject of its
// own, with the header `Myelin-Control: watermark`. It says how the sender's messages between two places of the input have
// moved its clocks; the others merge that with their own by place, so that all have the watermark that one partition
// would have. When a mark comes does not matter, nor whether it comes twice.
import { isRecord } from '../bus/internal.ts'
import type { Tick } from './scout.ts'

export interface Mark {
  readonly partition: number
  /** It tells of the sender's messages after this sequence of the input … */
  readonly after: number
  /** … up to and with this one. */
  readonly to: number
  /** The sender has messages up to here that wait for marks of the others. */
  readonly wants: number
  /** Those times of clocks that are news. */
  readonly ticks: readonly Tick[]
}

export const markSubject = (processor: string, partition: number | '*') => `in.${processor}.marks.${partition}`

/** Numbers as differences to those before: a tick takes about a dozen bytes. */
export function encodeMark({ after, to, wants, ticks }: Mark): Uint8Array {
  const numbers: number[] = []
  let [sequence, ms, storedMs] = [after, 0, 0]
  for (const tick of ticks) {
    numbers.push(tick.sequence - sequence, tick.clock, tick.ms - ms, tick.storedMs - storedMs)
    ;({ sequence, ms, storedMs } = tick)
  }
  return Buffer.from(JSON.stringify({ after, to, wants, ticks: numbers }))
}

/** Undefined when it is none. */
export function decodeMark(subject: string, data: Uint8Array): Mark | undefined {
  const partition = Number(subject.slice(subject.lastIndexOf('.') + 1))
  let said: unknown
  try {
    said = JSON.parse(Buffer.from(data).toString())
  } catch {
    return undefined
  }
  if (!isRecord(said)) return undefined
  const { after, to, wants, ticks: numbers } = said
  if (![partition, after, to, wants].every(Number.isSafeInteger) || !Array.isArray(numbers)) return undefined
  if (numbers.length % 4 !== 0) return undefined
  const ticks: Tick[] = []
  let [sequence, ms, storedMs] = [after as number, 0, 0]
  for (let i = 0; i < numbers.length; i += 4) {
    sequence += numbers[i] as number
    ms += numbers[i + 2] as number
    storedMs += numbers[i + 3] as number
    // of anything but numbers the sums are none
    if (!Number.isSafeInteger(sequence + ms + storedMs)) return undefined
    ticks.push({ sequence, clock: numbers[i + 1] as number, ms, storedMs })
  }
  return { partition, after: after as number, to: to as number, wants: wants as number, ticks }
}
