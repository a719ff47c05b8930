// Checkpoints: a program's memory with its place in its input and outputs, as a log in a stream of its own. A base holds
// everything, each later entry what changed since; when the changes outgrow their base, a new base is written and the
// log is cut before the one before it. The stream has one writer, so an instance that was replaced learns of it at its
// next checkpoint. An entry that is damaged ends the log before it; a damaged base falls back to the one before.
import {
  type Bus,
  ensureStream,
  formerNameOf,
  lastMessage,
  nameKept,
  ownedStream,
  purgeBefore,
  type StreamWriter,
  streamInfo,
  streamWriter,
} from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'
import {
  type Commit,
  type Identity,
  type Part,
  type Positions,
  partLines,
  partsOf,
  readCommit,
  replay,
} from './checkpoint-log.ts'
import type { Dataflow } from './dataflow.ts'

/** A checkpoint that is made up and not yet stored. */
export interface Pending {
  readonly everything: boolean
  readonly positions: Positions
  readonly parts: readonly Part[]
  readonly bytes: number
}

const groupBytes = 256 * 1024
/** Beside its data a part has its own header and those of its batch. */
const headroomBytes = 512
const leastBaseBytes = 1024 * 1024
/** Changes are cut now and then however small they are, unless a new base would cost more than reading them. */
const mostChanges = 500
const smallBaseBytes = 16 * 1024 * 1024

export const checkpointStream = (processor: string, partition?: number) => owned(processor, partition).name

const owned = (processor: string, partition?: number) =>
  partition === undefined ? ownedStream('checkpoint', processor) : ownedStream('checkpoint part', processor, partition)

export interface CheckpointsOptions {
  readonly processor: string
  /** Of a processor that has several. */
  readonly partition?: number
  readonly log: Logger
  /** Makes a dataflow without memory: what is read goes into it. */
  readonly dataflow: () => Dataflow
}

export interface Opened {
  readonly checkpoints: Checkpoints
  readonly dataflow: Dataflow
  readonly found: { readonly positions: Positions; readonly identity: Identity } | undefined
}

export class Checkpoints {
  readonly #bus: Bus
  readonly #stream: string
  readonly #subject: string
  readonly #writer: StreamWriter
  #identity: Identity | undefined
  #base: { readonly sequence: number; readonly bytes: number; readonly input: number } | undefined
  #before: { readonly sequence: number; readonly input: number } | undefined
  #changeBytes = 0
  #changes = 0
  #count = 0
  /** Bytes of the last checkpoint. */
  lastBytes = 0

  private constructor(bus: Bus, stream: string, subject: string, writer: StreamWriter) {
    this.#bus = bus
    this.#stream = stream
    this.#subject = subject
    this.#writer = writer
  }

  /** Opens a processor's log and reads what it holds into a dataflow. */
  static async open(bus: Bus, { processor, partition, log, dataflow }: CheckpointsOptions): Promise<Opened> {
    const subject = `ckpt.${processor}.${partition ?? 0}`
    const own = owned(processor, partition)
    const former = partition === undefined ? own.name : formerNameOf('checkpoint part', processor, partition)
    const stream = await nameKept(bus, own.name, former, [`${subject}.*`])
    await ensureStream(bus, {
      ...own,
      name: stream,
      subjects: [`${subject}.*`],
      description: `state and positions of processor ${processor}`,
    })
    const end = (await streamInfo(bus, stream))?.state.last_seq ?? 0
    const checkpoints = new Checkpoints(bus, stream, subject, await streamWriter(bus, stream, { lastSequence: end }))
    const last = await lastMessage(bus, stream, `${subject}.commit`)
    const latest = last && readCommit(last.data)
    // an entry that is damaged says nothing of where its base is: everything that is left is read
    const begins = latest ? [latest.base, latest.baseBefore, 1] : last ? [1] : []
    for (const from of new Set(begins)) {
      const read = await replay(bus, stream, from, last!.sequence, dataflow)
      if (read.damage) log.warn({ stream, damage: read.damage }, 'a checkpoint is damaged; the one before it is used')
      if (!read.commit) continue
      read.dataflow.restored()
      const { commit } = read
      // after damage the log must not be built upon: the next checkpoint is a base
      if (!read.damage) {
        checkpoints.#base = { sequence: commit.base, bytes: read.baseBytes, input: read.baseInput }
        checkpoints.#changeBytes = read.changeBytes
        checkpoints.#changes = read.changes
      }
      checkpoints.#before = { sequence: commit.baseBefore, input: commit.lowWatermark }
      return { checkpoints, dataflow: read.dataflow, found: commit }
    }
    return { checkpoints, dataflow: dataflow(), found: undefined }
  }

  /** What the state belongs to from now on. */
  set identity(identity: Identity) {
    this.#identity = identity
  }

  /** Input before this will never be needed again. */
  get lowWatermark(): number {
    return this.#before?.input ?? 0
  }

  /** Takes down what is to be stored, at once: the dataflow may go on. */
  take(positions: Positions, dataflow: Dataflow): Pending {
    const everything =
      this.#base === undefined ||
      this.#changeBytes > Math.max(leastBaseBytes, this.#base.bytes) ||
      (this.#changes >= mostChanges && this.#base.bytes < smallBaseBytes)
    const most = Math.min(groupBytes, this.#bus.maxPayloadBytes - headroomBytes)
    const parts = partsOf(dataflow, everything, Math.max(1, most))
    const bytes = parts.reduce((sum, { data }) => sum + data.length, 0)
    return { everything, positions, parts, bytes }
  }

  /** Resolves when stored. @throws MyelinError WRONG_SEQUENCE when another instance has taken over */
  async store({ everything, positions, parts, bytes }: Pending): Promise<void> {
    this.#count += 1
    const id = `${this.#count}.${crypto.randomUUID().slice(0, 8)}`
    const first = this.#writer.end + 1
    for (const { data, open } of parts) {
      this.#writer.add(`${this.#subject}.part`, data, partLines(id, { data, open }))
      const room = this.#writer.ready()
      if (room) await room
    }
    const before = everything ? this.#base : this.#before
    const commit: Commit = {
      id,
      positions,
      identity: this.#identity!,
      parts: parts.length,
      bytes,
      base: everything ? first : this.#base!.sequence,
      baseBefore: before?.sequence ?? first,
      lowWatermark: before?.input ?? 0,
    }
    const entry = Buffer.from(JSON.stringify(commit))
    this.#writer.add(`${this.#subject}.commit`, entry)
    await this.#writer.flush()
    this.lastBytes = bytes
    if (!everything) {
      this.#changeBytes += bytes + entry.length
      this.#changes += 1
      return
    }
    if (this.#base) this.#before = { sequence: this.#base.sequence, input: this.#base.input }
    this.#base = { sequence: first, bytes, input: positions.input }
    this.#changeBytes = 0
    this.#changes = 0
    // nothing depends on the purge: one that fails is made up for by the next
    if (this.#before) await purgeBefore(this.#bus, this.#stream, this.#before.sequence).catch(() => undefined)
  }
}
