// The end of an input: a message in the stream itself that says that no event follows. To a processor it is a watermark
// at infinity, so that the last windows close; being a message at its place in the stream, it means the same in every
// replay. It has no payload and carries the header `Myelin-Control: end-of-input`; other readers skip it.
//
// It lies in one partition of a processor, and all of them must hear it, each at the same place in every replay. Where
// partitions tell each other of their clocks in marks, a mark says it; else that partition stores a copy for each other.
import { header, headerLines, now, persist } from '../bus/internal.ts'
import { controlHeader, endOfInputValue } from '../contract/internal.ts'
import type { Effect } from './effects.ts'
import type { Input } from './input.ts'
import type { Tick } from './scout.ts'

/** A partition's clocks, for the other partitions; see marks.ts. */
export const watermarkValue = 'watermark'

/** The end of a source as marks tell it: a clock of its own, numbered from -1 down. */
export const endTick = (source: number, sequence: number, storedMs: number): Tick => ({
  sequence,
  clock: -1 - source,
  ms: 0,
  storedMs,
})

/** The source that has ended, if that is what a tick says. */
export const endedBy = ({ clock }: Tick): number | undefined => (clock < 0 ? -1 - clock : undefined)

/** Stores the end of a source, found by one partition, for all others. */
export function passOn(of: {
  readonly partition: number
  readonly partitions: number
  readonly input: Input
}): Effect<{ readonly source: number; readonly sequence: number }> {
  const others = Array.from({ length: of.partitions }, (_, i) => i).filter((i) => i !== of.partition)
  return {
    name: `end of input in ${of.input.stream}`,
    open:
      ({ bus }) =>
      async ({ source, sequence }) => {
        await Promise.all(
          others.map((other) =>
            persist(bus, of.input.endSubject(other, source), new Uint8Array(0), {
              deadline: now() + 30_000,
              deduplicated: true,
              headerLines: headerLines({
                [controlHeader]: endOfInputValue,
                [header.messageId]: `end.${sequence}.${other}`,
              }),
            }),
          ),
        )
        return undefined
      },
  }
}
