// One output of a partition: a stream of rows that has one writer. Each row says who wrote it and which one it is, so
// that after a crash the rows that the stream has already can be distinguished from those of others.
import { type Bus, failure, type StreamWriter } from '../bus/internal.ts'
import type { Row } from './dataflow.ts'
import { jsonBytes } from './json.ts'
import { withKey } from './program/index.ts'
import type { View, ViewPart } from './view.ts'

/** Who wrote a row, and its number among the rows that were made: `<processor>/<partition>/<life> <number>`. */
export const rowHeader = 'Myelin-Row'
/** Beside its data a row has its own header and those of its batch. */
const headroomBytes = 1_024

/** Where an output stands; numbers begin with 1. */
export interface OutputPosition {
  /** The number of the last row that was made. */
  readonly made: number
  /** How many of them could be written. */
  readonly rows: number
  /** The sequence of the last one in the stream, or of what came after it. */
  readonly sequence: number
}

export class Output {
  readonly stream: string
  readonly #view: View
  readonly #subject: (key: string) => string
  readonly #bus: Bus
  readonly #writer: StreamWriter
  readonly #lines: string
  /** Rows up to this number were made before the crash: they are in the stream, or were refused. */
  readonly #known: number
  /** Where the stream ended when this one began. */
  readonly #end: number
  #made: number
  #rows: number
  #sequence: number
  /** Rows that were not written again. */
  replayed = 0

  constructor(
    bus: Bus,
    target: { readonly view: View; readonly part: ViewPart; readonly writer: StreamWriter; readonly owner: string },
    from: OutputPosition & { readonly known: number; readonly end: number },
  ) {
    this.stream = target.part.stream
    this.#view = target.view
    this.#subject = target.part.subject
    this.#bus = bus
    this.#writer = target.writer
    this.#lines = `${rowHeader}:${target.owner} `
    this.#known = from.known
    this.#end = from.end
    this.#made = from.made
    this.#rows = from.rows
    this.#sequence = from.made >= from.known ? from.end : from.sequence
  }

  get position(): OutputPosition {
    return { made: this.#made, rows: this.#rows, sequence: this.#sequence }
  }
  /** Up to which sequence everything is stored. */
  get acknowledged(): number {
    return this.#writer.acknowledged
  }
  get rows(): number {
    return this.#rows
  }
  get hasRoom(): boolean {
    return this.#writer.hasRoom
  }

  /**
   * Hot path. Takes a row. One that cannot be written is refused (INVALID_INPUT, PAYLOAD_TOO_LARGE) and has a number all the
   * same, so that a replay counts alike whatever the limits are by then.
   * @throws MyelinError what made the writer fail
   */
  add(row: Row, refuse: (error: unknown) => void, traceLines = ''): void {
    this.#made += 1
    if (this.#made === this.#known) this.#sequence = this.#end
    let data: Buffer
    try {
      data = this.#encode(row)
    } catch (error) {
      refuse(error)
      return
    }
    this.#rows += 1
    if (this.#made <= this.#known) this.replayed += 1
    else this.#sequence = this.#writer.add(this.#subject(row.key), data, `${this.#lines}${this.#made}\r\n${traceLines}`)
  }

  /** @throws MyelinError INVALID_INPUT, PAYLOAD_TOO_LARGE */
  #encode({ key, value }: Row): Buffer {
    const { name, key: field } = this.#view
    const data = jsonBytes(`row "${key}" of view ${name}`, withKey(field, key, value))
    const most = this.#bus.maxPayloadBytes - headroomBytes
    if (data.length > most) {
      throw failure(
        'PAYLOAD_TOO_LARGE',
        `row "${key}" of view ${name} has ${data.length} bytes, ${most} fit into a message; it begins ${data.toString('utf8', 0, 200)}`,
      )
    }
    return data
  }

  /** Sends what was added without waiting for more. */
  send(): void {
    this.#writer.send()
  }
  ready(): Promise<void> | undefined {
    return this.#writer.ready()
  }
  /** Resolves when the rows up to a position are stored. */
  stored({ sequence }: OutputPosition): Promise<void> {
    return this.#writer.stored(sequence)
  }
}
