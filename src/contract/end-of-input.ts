// The end of an input: a message in an event's stream that says that no event follows. A processor closes its last windows
// at it; other readers pass it over. It has no payload and carries the header `Myelin-Control: end-of-input`.
import { type HeaderReader, headerLine } from '../bus/internal.ts'
import type { Contract } from './definition.ts'
import { eventSubject } from './subjects.ts'

export const controlHeader = 'Myelin-Control'
export const endOfInputValue = 'end-of-input'

/**
 * The message that ends a durable event's stream, as `writer().end()` of a client sends it. Events after it are late.
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

/**
 * Whether a message is the end of its input.
 * @example if (isEndOfInput(message)) console.log('nothing follows')
 */
export function isEndOfInput(message: { readonly data: Uint8Array; readonly headers: HeaderReader }): boolean {
  return message.data.length === 0 && message.headers.get(controlHeader) === endOfInputValue
}
