// Places in a stream, as users hold them.

declare const brand: unique symbol

/**
 * A place in a stream, as text. Where several events share a message, it will name the event within it as well, so it is
 * no number: compare two with {@link comparePositions}, print one as it is.
 */
export type Position = string & { readonly [brand]: 'position' }

/** The place of a message. */
export const positionOf = (sequence: number): Position => String(sequence) as Position

/** The message at a place. */
export const sequenceOf = (position: Position): number => Number.parseInt(position, 10)

/**
 * Negative when the first place comes before the second, 0 when they are the same.
 * @example if (comparePositions(writer.stored, written) >= 0) console.log('it is stored')
 */
export function comparePositions(a: Position, b: Position): number {
  return sequenceOf(a) - sequenceOf(b)
}
