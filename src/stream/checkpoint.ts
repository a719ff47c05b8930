// Checkpoints: a program's state with its input and output position, in a stream of its own. The stream has one writer,
// so an instance that was replaced learns of it at its next checkpoint. The last two are kept; one that is damaged is
// passed over for the one before.
import { crc32 } from 'node:zlib'
import {
  type Bus,
  ensureStream,
  failure,
  headerLine,
  readStream,
  type StreamMessage,
  type StreamWriter,
  streamInfo,
  streamWriter,
} from '../bus/index.ts'
import type { Logger } from '../unit/index.ts'

/** Everything an instance needs to go on where another stopped. */
export interface Checkpoint {
  /** Which program made it. */
  readonly shape: string
  /** When input and view stream were created: positions mean nothing in streams that were made anew. */
  readonly inputCreated: string
  readonly viewCreated: string
  /** Sequence of the last input message whose effects are in `state`. */
  readonly input: number
  /** Sequence of the last output row of the inputs up to `input`. */
  readonly output: number
  /** Input messages that could not be used so far. */
  readonly bad: number
  readonly ended: boolean
  readonly state: unknown
}

const partHeader = 'Myelin-Checkpoint'
const partBytes = 512 * 1024

export const checkpointStream = (processor: string) => `CKPT_${processor}`

export class Checkpoints {
  readonly #processor: string
  readonly #writer: StreamWriter

  private constructor(processor: string, writer: StreamWriter) {
    this.#processor = processor
    this.#writer = writer
  }

  /** Opens the checkpoints of a processor, and reads the latest that is whole. */
  static async open(
    bus: Bus,
    processor: string,
    log: Logger,
  ): Promise<{ checkpoints: Checkpoints; latest: Checkpoint | undefined }> {
    const stream = checkpointStream(processor)
    await ensureStream(bus, {
      name: stream,
      subjects: [`ckpt.${processor}.*`],
      description: `state and positions of processor ${processor}; the last two`,
      maxMessagesPerSubject: 2,
      discard: 'old',
    })
    const end = (await streamInfo(bus, stream))?.state.last_seq ?? 0
    const latest = await read(bus, stream, log)
    return { checkpoints: new Checkpoints(processor, await streamWriter(bus, stream, { lastSequence: end })), latest }
  }

  /** Resolves when stored. @throws MyelinError WRONG_SEQUENCE when another instance has taken over */
  async save(checkpoint: Checkpoint): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(checkpoint))
    const parts = Math.max(1, Math.ceil(bytes.length / partBytes))
    const id = this.#writer.end + 1
    const sum = crc32(bytes)
    for (let part = 0; part < parts; part++) {
      const data = bytes.subarray(part * partBytes, (part + 1) * partBytes)
      this.#writer.add(
        `ckpt.${this.#processor}.${part}`,
        data,
        headerLine(partHeader, `${id} ${part + 1}/${parts} ${sum}`),
      )
      const room = this.#writer.ready()
      if (room) await room
    }
    await this.#writer.flush()
  }
}

/** The latest checkpoint whose parts are all there and undamaged. */
async function read(bus: Bus, stream: string, log: Logger): Promise<Checkpoint | undefined> {
  const found = new Map<number, StreamMessage[]>()
  for (const message of await everything(bus, stream)) {
    const id = Number(message.headers.get(partHeader)?.split(' ')[0] ?? Number.NaN)
    found.set(id, [...(found.get(id) ?? []), message])
  }
  for (const [id, parts] of [...found].sort(([a], [b]) => b - a)) {
    try {
      return assemble(parts)
    } catch (error) {
      // parts of longer checkpoints outlive the rest; only a damaged first part is worth a word
      if (parts.some((part) => part.subject.endsWith('.0'))) {
        log.warn({ err: error, stream, id }, 'a checkpoint is damaged; the one before it is used')
      }
    }
  }
  return undefined
}

function assemble(messages: StreamMessage[]): Checkpoint {
  const parts = messages.sort((a, b) => a.sequence - b.sequence)
  const [, place = '', sum] = parts[0]?.headers.get(partHeader)?.split(' ') ?? []
  const wanted = Number(place.split('/')[1])
  const bytes = Buffer.concat(parts.map((part) => part.data))
  if (parts.length !== wanted || crc32(bytes) !== Number(sum)) {
    throw failure('MALFORMED_PAYLOAD', `${parts.length} of ${wanted} parts, ${bytes.length} bytes`)
  }
  return JSON.parse(bytes.toString()) as Checkpoint
}

/** All messages of a small stream. */
async function everything(bus: Bus, stream: string): Promise<StreamMessage[]> {
  const info = await streamInfo(bus, stream)
  if (!info || info.state.messages === 0) return []
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const messages: StreamMessage[] = []
  const reader = await readStream(bus, {
    stream,
    onMessage: (message) => {
      messages.push(message)
      reader.release()
      if (message.pending === 0) resolve()
    },
    onError: reject,
  })
  try {
    await promise
  } finally {
    await reader.stop()
  }
  return messages
}
