// The error output: input that cannot be used, as it came, with the reason.
import { type Bus, ensureStream, header, headerLines, MyelinError, messageOf, store } from '../bus/index.ts'
import type { Effect } from './effects.ts'

export const refusedStream = (processor: string) => `BAD_${processor}`
export const refusedSubject = (processor: string) => `bad.${processor}`

/** An input message that could not be used. */
export interface Refused {
  readonly error: unknown
  readonly stream: string
  readonly sequence: number
  readonly subject: string
  readonly data: Uint8Array
}

const kept = { maxMessages: 100_000, maxBytes: 256 * 1024 ** 2, discard: 'old' } as const

/** Stores what was refused, each message once; the oldest are forgotten at the limit. */
export function refuse(processor: string): Effect<Refused> {
  return {
    name: `errors ${refusedStream(processor)}`,
    open({ bus }) {
      let ensured: Promise<void> | undefined
      return async ({ error, stream, sequence, subject, data }) => {
        // made for the first one: a processor whose input is fine has no stream for errors
        ensured ??= ensure(bus, processor)
        await ensured.catch((reason) => {
          ensured = undefined
          throw reason
        })
        const { duplicate } = await store(bus, refusedSubject(processor), data, {
          deadline: Date.now() + 30_000,
          deduplicated: true,
          headerLines: headerLines({
            [header.messageId]: `${stream}.${sequence}`,
            [header.errorCode]: error instanceof MyelinError ? error.code : 'INTERNAL',
            [header.error]: messageOf(error).slice(0, 1_000),
            'Myelin-Source': `${stream} ${sequence} ${subject}`,
          }),
        })
        return { duplicate }
      }
    },
  }
}

const ensure = (bus: Bus, processor: string) =>
  ensureStream(bus, {
    name: refusedStream(processor),
    subjects: [refusedSubject(processor)],
    description: `input that processor ${processor} could not use, with the reason`,
    ...kept,
  })
