// Checkpoints: a program's memory with its place in its input and outputs, as a log in a stream of its own. A base holds
// everything, each later entry what changed since; when the changes outgrow their base, a new base is written and the
// log is cut before the one before it. The stream has one writer, so an instance that was replaced learns of it at its
// next checkpoint. An entry that is damaged ends the log before it; a damaged base falls back to the one before.
import { crc32 } from 'node:zlib'
import {
  type Bus,
  ensureStream,
  formerNameOf,
  headerLine,
  lastMessage,
  messageOf,
  nameKept,
  ownedStream,
  purgeBefore,
  readSpan,
  type StreamMessage,
  type StreamWriter,
  streamInfo,
  streamWriter,
} from '../bus/index.ts'
import type { Logger } from '../unit/index.ts'
import type { Circuit } from './circuit.ts'

/** Where an instance goes on. */
export interface Positions {
  /** Sequence of the last input message whose effects are in the state. */
  readonly input: number
  /** Sequences of the last rows of the inputs up to `input`, one per output. */
  readonly outputs: readonly number[]
  /** Input messages that could not be used so far. */
  readonly bad: number
  readonly ended: boolean
}

/** What the state belongs to: positions mean nothing in streams that were made anew. */
export interface Identity {
  /** Which program made it. */
  readonly shape: string
  /** When input and output streams were created. */
  readonly input: string
  readonly outputs: readonly string[]
}

interface Commit {
  readonly id: string
  readonly positions: Positions
  readonly identity: Identity
  readonly parts: number
  readonly bytes: number
  /** Where the base begins that this entry builds on, and where the base before begins. */
  readonly base: number
  readonly baseBefore: number
  /** Input position of the base before: what may still be needed. */
  readonly safeInput: number
}

/** A checkpoint that is made up and not yet stored. */
export interface Pending {
  readonly everything: boolean
  readonly positions: Positions
  readonly parts: readonly Buffer[]
  readonly bytes: number
}

const partHeader = 'Myelin-Checkpoint'
const partBytes = 256 * 1024
const leastBaseBytes = 1024 * 1024

export const checkpointStream = (processor: string, partition?: number) => owned(processor, partition).name

const owned = (processor: string, partition?: number) =>
  partition === undefined ? ownedStream('checkpoint', processor) : ownedStream('checkpoint part', processor, partition)

export interface CheckpointsOptions {
  readonly processor: string
  /** Of a processor that has several. */
  readonly partition?: number
  readonly log: Logger
  /** Makes a circuit without memory: what is read goes into it. */
  readonly circuit: () => Circuit
}

export interface Opened {
  readonly checkpoints: Checkpoints
  readonly circuit: Circuit
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
  #count = 0
  /** Bytes of the last checkpoint. */
  lastBytes = 0

  private constructor(bus: Bus, stream: string, subject: string, writer: StreamWriter) {
    this.#bus = bus
    this.#stream = stream
    this.#subject = subject
    this.#writer = writer
  }

  /** Opens a processor's log and reads what it holds into a circuit. */
  static async open(bus: Bus, { processor, partition, log, circuit }: CheckpointsOptions): Promise<Opened> {
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
    const begins = latest ? [latest.base, latest.baseBefore] : last ? [1] : []
    for (const from of new Set(begins)) {
      const fresh = circuit()
      const read = await replay(bus, stream, from, last!.sequence, fresh)
      if (read.damage) log.warn({ stream, damage: read.damage }, 'a checkpoint is damaged; the one before it is used')
      if (!read.commit) continue
      fresh.restored()
      const { commit } = read
      // after damage the log must not be built upon: the next checkpoint is a base
      if (!read.damage) {
        checkpoints.#base = { sequence: commit.base, bytes: read.baseBytes, input: read.baseInput }
        checkpoints.#changeBytes = read.changeBytes
      }
      checkpoints.#before = { sequence: commit.baseBefore, input: commit.safeInput }
      return { checkpoints, circuit: fresh, found: commit }
    }
    return { checkpoints, circuit: circuit(), found: undefined }
  }

  /** What the state belongs to from now on. */
  set identity(identity: Identity) {
    this.#identity = identity
  }

  /** Input before this will never be needed again. */
  get safeInput(): number {
    return this.#before?.input ?? 0
  }

  /** Takes down what is to be stored, at once: the circuit may go on. */
  take(positions: Positions, circuit: Circuit): Pending {
    const everything = this.#base === undefined || this.#changeBytes > Math.max(leastBaseBytes, this.#base.bytes)
    const parts: Buffer[] = []
    let records: string[] = []
    let length = 0
    let bytes = 0
    const close = () => {
      const part = Buffer.from(`[${records.join(',')}]`)
      parts.push(part)
      bytes += part.length
      records = []
      length = 0
    }
    for (const record of circuit.save(everything)) {
      const text = JSON.stringify(record)
      records.push(text)
      length += text.length
      if (length > partBytes) close()
    }
    close()
    return { everything, positions, parts, bytes }
  }

  /** Resolves when stored. @throws MyelinError WRONG_SEQUENCE when another instance has taken over */
  async store({ everything, positions, parts, bytes }: Pending): Promise<void> {
    this.#count += 1
    const id = `${this.#count}.${crypto.randomUUID().slice(0, 8)}`
    const first = this.#writer.end + 1
    for (const part of parts) {
      this.#writer.add(`${this.#subject}.part`, part, headerLine(partHeader, `${id} ${crc32(part)}`))
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
      safeInput: before?.input ?? 0,
    }
    this.#writer.add(`${this.#subject}.commit`, Buffer.from(JSON.stringify(commit)))
    await this.#writer.flush()
    this.lastBytes = bytes
    if (!everything) {
      this.#changeBytes += bytes
      return
    }
    if (this.#base) this.#before = { sequence: this.#base.sequence, input: this.#base.input }
    this.#base = { sequence: first, bytes, input: positions.input }
    this.#changeBytes = 0
    // nothing depends on the purge: one that fails is made up for by the next
    if (this.#before) await purgeBefore(this.#bus, this.#stream, this.#before.sequence).catch(() => undefined)
  }
}

interface Replayed {
  readonly commit: Commit | undefined
  readonly baseBytes: number
  readonly baseInput: number
  readonly changeBytes: number
  readonly damage: string | undefined
}

/** Reads the log from a base on into a circuit, up to the last entry that is whole. */
async function replay(bus: Bus, stream: string, from: number, to: number, circuit: Circuit): Promise<Replayed> {
  const pending = new Map<string, Buffer[]>()
  let commit: Commit | undefined
  let base: Commit | undefined
  let changeBytes = 0
  let damage: string | undefined
  const take = (message: StreamMessage) => {
    if (damage !== undefined) return
    if (message.subject.endsWith('.part')) {
      const [id = '', sum] = message.headers.get(partHeader)?.split(' ') ?? []
      const part = Buffer.from(message.data)
      const parts = pending.get(id) ?? []
      if (crc32(part) === Number(sum)) pending.set(id, [...parts, part])
      return
    }
    const entry = readCommit(message.data)
    const parts = entry && pending.get(entry.id)
    if (!entry || !parts || parts.length !== entry.parts) {
      damage = `the entry at ${message.sequence} has ${parts?.length ?? 0} of ${entry?.parts ?? '?'} parts`
      return
    }
    // entries of a newer base, met while falling back, say nothing to this one
    base ??= entry
    if (entry.base === base.base) {
      for (const part of parts) for (const record of JSON.parse(part.toString())) circuit.restore(record)
      if (commit !== undefined) changeBytes += entry.bytes
      commit = entry
    }
    pending.clear()
  }
  for await (const message of readSpan(bus, stream, { from, until: to, maxPending: 64 })) {
    try {
      take(message)
    } catch (error) {
      damage = messageOf(error)
    }
  }
  return { commit, baseBytes: base?.bytes ?? 0, baseInput: base?.positions.input ?? 0, changeBytes, damage }
}

function readCommit(data: Uint8Array): Commit | undefined {
  try {
    const commit = JSON.parse(Buffer.from(data).toString()) as Commit
    return typeof commit.id === 'string' && typeof commit.base === 'number' ? commit : undefined
  } catch {
    return undefined
  }
}
