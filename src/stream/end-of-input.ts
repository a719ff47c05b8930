// The end of an input: a message in the stream itself that says that no event follows. To a processor it is a watermark
// at infinity, so that the last windows close; being a message at its place in the stream, it means the same in every
// replay. It has no payload and carries the header `Myelin-Control: end-of-input`; other readers skip it.
import { type HeaderReader, headerLine } from '../bus/index.ts'
import { type Contract, eventSubject } from '../contract/index.ts'

export const controlHeader = 'Myelin-Control'
const endOfInputValue = 'end-of-input'
/** A partition's clocks, for the other partitions; see marks.ts. */
export const watermarkValue = 'watermark'

/**
 * The message that ends a durable event's stream, for {@link StreamWriter.add}. Events after it are late.
 * @example
 * const { subject, data, headerLines } = endOfInput(flights, 'departed')
 * writer.add(subject, data, headerLines)
 */
export function endOfInput(
  contract: Contract,
  event: string,
): { readonly subject: string; readonly data: Uint8Array; readonly headerLines: string } {
  const keyed = contract.definition.events?.[event]?.key !== undefined
  return {
    subject: eventSubject(contract.name, event, keyed ? '_end' : undefined),
    data: new Uint8Array(0),
    headerLines: headerLine(controlHeader, endOfInputValue),
  }
}

/** Whether a message is the end of its input. */
export function isEndOfInput(message: { readonly data: Uint8Array; readonly headers: HeaderReader }): boolean {
  return message.data.length === 0 && message.headers.get(controlHeader) === endOfInputValue
}
