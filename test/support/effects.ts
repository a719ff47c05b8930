import type { Effect } from '../../src/stream/index.ts'

/** An effect that does nothing: what starts it is what a test looks at. */
export const collected = (name: string): Effect<unknown> => ({ name, open: () => async () => undefined })
