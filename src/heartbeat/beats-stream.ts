// The last beat of every instance, kept in memory by the server: the snapshot for those who come late.
import { type Bus, ensureStream } from '../bus/index.ts'

export const beatsStream = 'BEATS'

export const ensureBeats = (bus: Bus): Promise<void> =>
  ensureStream(bus, {
    name: beatsStream,
    subjects: ['beat.>'],
    description: 'the last beat of every instance of the last minutes',
    storage: 'memory',
    maxMessagesPerSubject: 1,
    maxAgeMs: 5 * 60_000,
    maxBytes: 64 * 1024 ** 2,
    discard: 'old',
  })
