// What the log of checkpoints is made of. An entry is its parts, which hold the records of a dataflow as JSON, and a commit
// that says where its state belongs. An entry that is not whole counts as if it were not there.
import { crc32 } from 'node:zlib'
import { type Bus, boundedText, failure, headerLine, messageOf, readSpan, type StreamMessage } from '../bus/internal.ts'
import type { Dataflow } from './dataflow.ts'
import type { OutputPosition } from './output.ts'

/** Where an instance goes on. */
export interface Positions {
  /** Sequence of the last input message whose effects are in the state. */
  readonly input: number
  /** When the server stored it, unix ms: another message at its place has another time. */
  readonly inputMs?: number
  /** The last rows of the inputs up to `input`, one per output; a sequence alone in checkpoints of version 0.1. */
  readonly outputs: readonly (OutputPosition | number)[]
  /** Input messages that could not be used so far. */
  readonly rejected: number
  readonly ended: boolean
  /** Sources that nothing follows of, by number. */
  readonly endedSources?: readonly number[]
}

/** What the state belongs to: positions mean nothing in streams that were made anew. */
export interface Identity {
  /** Which program made it. */
  readonly shape: string
  /** Made up when it began: who the rows are from. Checkpoints of version 0.1 have none. */
  readonly life?: string
  /** When input and output streams were created. */
  readonly input: string
  readonly outputs: readonly string[]
}

export interface Commit {
  readonly id: string
  readonly positions: Positions
  readonly identity: Identity
  readonly parts: number
  readonly bytes: number
  /** Where the base begins that this entry builds on, and where the base before begins. */
  readonly base: number
  readonly baseBefore: number
  /** Input position of the base before: what may still be needed. */
  readonly lowWatermark: number
}

const partHeader = 'Myelin-Checkpoint'
/** Says that the records of a part go on in the next. */
const goesOn = '+'

/** Records are grouped, a JSON array each; a group that is too large for a message goes over several parts. */
export interface Part {
  readonly data: Buffer
  /** Its group goes on in the next. */
  readonly open: boolean
}

export const partLines = (id: string, { data, open }: Part): string =>
  headerLine(partHeader, `${id} ${crc32(data)}${open ? ` ${goesOn}` : ''}`)

/** A dataflow's records as parts of at most so many bytes. @throws MyelinError UNSTORABLE_STATE */
export function partsOf(dataflow: Dataflow, everything: boolean, most: number): Part[] {
  const parts: Part[] = []
  let records: string[] = []
  let length = 0
  const close = () => {
    const group = Buffer.from(`[${records.join(',')}]`)
    for (let at = 0; at < group.length; at += most) {
      parts.push({ data: group.subarray(at, at + most), open: at + most < group.length })
    }
    records = []
    length = 0
  }
  for (const record of dataflow.save(everything)) {
    const text = textOf(record, dataflow)
    // most groups are one message
    if (length > 0 && length + text.length >= most) close()
    records.push(text)
    length += text.length + 1
  }
  close()
  return parts
}

/** @throws MyelinError UNSTORABLE_STATE */
function textOf(record: readonly [operator: number, ...unknown[]], dataflow: Dataflow): string {
  try {
    return JSON.stringify(record)
  } catch (cause) {
    const [operator, key] = record
    throw failure(
      'UNSTORABLE_STATE',
      `the state of step ${dataflow.operatorText(operator)}, key ${boundedText(String(key), 60)}, cannot be stored: ${messageOf(cause).split('\n', 1)[0]}`,
      { cause },
    )
  }
}

export interface Replayed {
  readonly dataflow: Dataflow
  readonly commit: Commit | undefined
  readonly baseBytes: number
  readonly baseInput: number
  readonly changeBytes: number
  readonly changes: number
  readonly damage: string | undefined
}

/**
 * Reads the log from a base on into a dataflow, up to the last entry that is whole; of several bases the last counts.
 * Damage ends what builds on it: the next base begins anew.
 */
export async function replay(
  bus: Bus,
  stream: string,
  from: number,
  to: number,
  make: () => Dataflow,
): Promise<Replayed> {
  let groups = new Groups()
  let read = { dataflow: make(), changeBytes: 0, changes: 0 }
  let commit: Commit | undefined
  let base: Commit | undefined
  let damage: string | undefined
  const take = (message: StreamMessage) => {
    if (message.subject.endsWith('.part')) {
      groups.add(message)
      return
    }
    const entry = readCommit(message.data)
    const records = entry && groups.of(entry)
    groups = new Groups()
    if (!entry || !records) {
      damage = `the entry at ${message.sequence} is not whole`
      return
    }
    if (entry.base === records.sequence) {
      base = entry
      damage = undefined
      read = { dataflow: make(), changeBytes: 0, changes: 0 }
    } else if (damage !== undefined || entry.base !== base?.base) return
    else {
      read.changeBytes += entry.bytes + message.data.length
      read.changes += 1
    }
    commit = entry
    // the state of another program is not read, only named
    if (entry.identity.shape !== read.dataflow.shape) return
    for (const group of records.groups) for (const record of JSON.parse(group.toString())) read.dataflow.restore(record)
  }
  for await (const message of readSpan(bus, stream, { from, until: to, maxPending: 64 })) {
    try {
      take(message)
    } catch (error) {
      // half of an entry is in the dataflow
      commit = undefined
      base = undefined
      damage = messageOf(error)
    }
  }
  return { ...read, commit, baseBytes: base?.bytes ?? 0, baseInput: base?.positions.input ?? 0, damage }
}

/** The parts of one entry, by the id that they share. */
class Groups {
  readonly #parts = new Map<string, { readonly sequence: number; parts: number; groups: Buffer[][]; open: boolean }>()

  add({ headers, data, sequence }: StreamMessage): void {
    const [id = '', sum, more] = headers.get(partHeader)?.split(' ') ?? []
    const part = Buffer.from(data)
    if (crc32(part) !== Number(sum)) return
    const known = this.#parts.get(id) ?? { sequence, parts: 0, groups: [], open: false }
    if (known.open) known.groups.at(-1)!.push(part)
    else known.groups.push([part])
    known.parts += 1
    known.open = more === goesOn
    this.#parts.set(id, known)
  }

  /** The groups of records of an entry and where they begin, if all of its parts are here. */
  of({ id, parts }: Commit): { readonly groups: Buffer[]; readonly sequence: number } | undefined {
    const known = this.#parts.get(id)
    if (known?.parts !== parts || known.open) return undefined
    const { sequence, groups } = known
    return { sequence, groups: groups.map((group) => (group.length === 1 ? group[0]! : Buffer.concat(group))) }
  }
}

/** As checkpoints of version 0.1 have it. */
interface FormerNames {
  readonly positions: { readonly bad?: number }
  readonly safeInput?: number
}

export function readCommit(data: Uint8Array): Commit | undefined {
  try {
    const commit = JSON.parse(Buffer.from(data).toString()) as Commit & FormerNames
    if (typeof commit.id !== 'string' || typeof commit.base !== 'number') return undefined
    const { positions } = commit
    return {
      ...commit,
      positions: { ...positions, rejected: positions.rejected ?? positions.bad ?? 0 },
      lowWatermark: commit.lowWatermark ?? commit.safeInput ?? 0,
    }
  } catch {
    return undefined
  }
}
