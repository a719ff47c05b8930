// What cannot be used: counted, logged now and then, and sent to the error output. The stream goes on.
import { MyelinError, messageOf, type Rejected } from '../../bus/internal.ts'
import type { Logger } from '../../unit/internal.ts'
import type { Origin } from '../effects.ts'

/** What a checkpoint says that is being stored. */
interface Taken {
  readonly input: number
  rejected: number
}

export class Rejections {
  readonly #stream: string
  readonly #log: Logger
  readonly #send: (rejected: Rejected) => Promise<void>
  #taken: Taken | undefined
  /** So far, by all instances. */
  count = 0

  constructor(stream: string, log: Logger, send: (rejected: Rejected) => Promise<void>) {
    this.#stream = stream
    this.#log = log
    this.#send = send
  }

  /** Resolves when it is in the error output. `origin`: the message that it came from, if that is known. */
  add(error: unknown, origin: Origin | undefined, id: string): Promise<void> | undefined {
    this.count += 1
    if (this.count <= 10 || this.count % 10_000 === 0) {
      const code = error instanceof MyelinError ? error.code : 'INTERNAL'
      this.#log.warn(
        { code, sequence: origin?.sequence, rejected: this.count },
        `an input of ${this.#stream} cannot be used and is left out: ${messageOf(error)}`,
      )
    }
    if (!origin) return undefined
    const { sequence, subject, data } = origin
    // the message's bytes are the client library's buffer: a copy is what may wait
    return this.#send({ id, error, stream: this.#stream, sequence, subject, data: Buffer.from(data) })
  }

  /** An effect will never take its value. */
  async ofEffect(error: unknown, origin: Origin | undefined, id: string): Promise<void> {
    // of a message that the checkpoint covers which is being stored
    if (origin && this.#taken && origin.sequence <= this.#taken.input) this.#taken.rejected += 1
    await this.add(error, origin, id)
  }

  /** A checkpoint is being stored; undefined: its effects are done. */
  set taken(taken: Taken | undefined) {
    this.#taken = taken
  }
}
