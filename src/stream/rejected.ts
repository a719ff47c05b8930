// A processor's error output, as an effect of its program.
import { ErrorOutput, type Rejected } from '../bus/internal.ts'
import type { Effect } from './effects.ts'

/**
 * The stream of a processor's error output: input that it could not use, as it came, with the reason.
 * @example for await (const message of readSpan(bus, errorStream('delays'))) console.log(readRejection(message).reason)
 */
export const errorStream = (processor: string): string => new ErrorOutput('processor', processor).stream

/** Stores what was rejected, each message once. */
export function reject(processor: string): Effect<Rejected> {
  const output = new ErrorOutput('processor', processor)
  return {
    name: `errors ${output.stream}`,
    open:
      ({ bus }) =>
      (rejected) =>
        output.add(bus, rejected),
  }
}
