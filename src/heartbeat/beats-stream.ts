// The last beat of every instance, kept in memory by the server: the snapshot for those who come late.
import { type Bus, ensureStream, nameOf, ownedStream } from '../bus/internal.ts'

export const beatsStream = nameOf('beats')

export const ensureBeats = (bus: Bus): Promise<void> =>
  ensureStream(bus, {
    ...ownedStream('beats'),
    subjects: ['beat.>'],
    description: 'the last beat of every instance of the last minutes',
    storage: 'memory',
    maxMessagesPerSubject: 1,
    maxAgeMs: 5 * 60_000,
    maxMessages: 50_000,
    discard: 'old',
  })
