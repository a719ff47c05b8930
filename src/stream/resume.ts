// Where a partition goes on: what its checkpoint says, compared with what its streams hold now. Whatever does not fit
// together is refused with what to do about it; nothing is guessed.
import {
  type Bus,
  compareStream,
  deleteMessage,
  failure,
  type MyelinError,
  messageOf,
  type Rejected,
  readSpan,
  type StreamGap,
  type StreamMessage,
  streamInfo,
} from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { checkpointStream } from './checkpoint.ts'
import type { Identity, Positions } from './checkpoint-log.ts'
import type { Input } from './input.ts'
import { type OutputPosition, rowHeader } from './output.ts'
import { type View, type ViewPart, viewStream } from './view.ts'

/** Where a partition goes on. */
export interface Place {
  readonly identity: Identity
  readonly input: number
  readonly inputMs: number
  readonly rejected: number
  readonly ended: boolean
  readonly endedSources: readonly number[]
  /** `known`: the number of the last row that the stream holds; `end`: where it ends. */
  readonly outputs: readonly (OutputPosition & { readonly known: number; readonly end: number })[]
}

export interface ResumeOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly processor: string
  readonly partition: number
  readonly partitions: number
  /** How messages name the partition. */
  readonly where: string
  readonly shape: string
  readonly input: Input
  readonly views: readonly View[]
  readonly outputs: readonly ViewPart[]
  readonly found: { readonly positions: Positions; readonly identity: Identity } | undefined
  /** Writes a message to the error output that is not this partition's. */
  readonly reject: (rejected: Rejected) => Promise<unknown>
}

/** @throws MyelinError STREAM_MISMATCH, STREAM_TRUNCATED */
export async function resume(options: ResumeOptions): Promise<Place> {
  const { bus, where, shape, input, outputs, found } = options
  const infoOf = async (stream: string) => {
    const info = await streamInfo(bus, stream)
    if (info) return info
    throw failure('STREAM_NOT_FOUND', `${where}: stream ${stream} is gone`)
  }
  const inputInfo = await infoOf(input.stream)
  const infos = await Promise.all(outputs.map(({ stream }) => infoOf(stream)))
  const streams = { input: inputInfo.created, outputs: infos.map(({ created }) => created) }
  const ends = infos.map(({ state }) => state.last_seq)
  const life = found?.identity.life ?? crypto.randomUUID().slice(0, 8)
  const identity: Identity = { shape, life, ...streams }
  if (!found) {
    refuseLostCheckpoint(options, ends, inputInfo.state)
    const fresh = ends.map((end) => ({ made: 0, rows: 0, sequence: 0, known: 0, end }))
    return { identity, input: 0, inputMs: 0, rejected: 0, ended: false, endedSources: [], outputs: fresh }
  }
  refuseOthers(options, found.identity, identity)
  const { positions } = found
  await refuseShortInput(options, positions, inputInfo.created)
  const places = positions.outputs.map(placeOf)
  const short = places.findIndex(({ sequence }, i) => ends[i]! < sequence)
  if (short >= 0) {
    throw failure(
      'STREAM_TRUNCATED',
      `${where}: ${outputs[short]!.stream} ends at ${ends[short]}, its checkpoint at ${places[short]!.sequence}: rows were lost; ${wayOut(options)}`,
    )
  }
  const made = []
  for (const [i, place] of places.entries()) {
    const end = ends[i]!
    const owner = ownerOf(options, life)
    // checkpoints of before rows had numbers: everything in the stream is taken for a row of this partition
    const numbered = found.identity.life !== undefined
    const known = numbered ? await lastRow(options, i, place, end, owner) : place.made + end - place.sequence
    made.push({ ...place, known, end })
  }
  const { input: at, inputMs = 0, rejected, ended, endedSources = [] } = positions
  return { identity, input: at, inputMs, rejected, ended, endedSources, outputs: made }
}

export const ownerOf = ({ processor, partition }: { processor: string; partition: number }, life: string | undefined) =>
  `${processor}/${partition}/${life}`

const placeOf = (saved: OutputPosition | number): OutputPosition =>
  typeof saved === 'number' ? { made: saved, rows: saved, sequence: saved } : saved

/** What a person can do: begin again, or make the rows elsewhere. */
export function wayOut({
  processor,
  partitions,
  input,
  views,
}: Pick<ResumeOptions, 'processor' | 'partitions' | 'input' | 'views'>): string {
  const parts = partitions === 1 ? [undefined] : Array.from({ length: partitions }, (_, partition) => partition)
  const streams = [
    ...parts.map((part) => checkpointStream(processor, part)),
    ...views.flatMap(({ name }) => [
      viewStream(name),
      ...(partitions === 1 ? [] : parts.map((part) => viewStream(name, part))),
    ]),
    ...(input.own ? [input.stream] : []),
  ]
  return `to begin again from what its input holds, stop it and remove the streams ${streams.join(', ')}; or make its rows under another name with \`npx myelin stream replay\``
}

interface Cut {
  readonly first_seq: number
  readonly num_deleted?: number
}

/** Without a checkpoint only the very beginning is certain. */
function refuseLostCheckpoint(
  options: ResumeOptions,
  ends: readonly number[],
  { first_seq, num_deleted = 0 }: Cut,
): void {
  const { where, outputs, input } = options
  const filled = ends.findIndex((end) => end > 0)
  if (filled >= 0) {
    throw failure(
      'STREAM_MISMATCH',
      `${where}: ${outputs[filled]!.stream} has rows, but there is no checkpoint that says of which inputs; ${wayOut(options)}`,
    )
  }
  // what is read is cut only when every partition has a checkpoint
  if (input.own && (first_seq > 1 || num_deleted > 0)) {
    throw failure(
      'STREAM_MISMATCH',
      `${where}: ${input.stream} was cut already, but there is no checkpoint that says what was in it; ${wayOut(options)}`,
    )
  }
}

function refuseOthers(options: ResumeOptions, then: Identity, now: Identity): void {
  const { where } = options
  // the shape first: outputs of another program are others
  if (then.shape !== now.shape) {
    throw failure(
      'STREAM_MISMATCH',
      `${where}: the program changed since its last checkpoint (then: ${then.shape}; now: ${now.shape}); ${wayOut(options)}`,
    )
  }
  if (then.input !== now.input || then.outputs.some((at, i) => at !== now.outputs[i])) {
    throw failure(
      'STREAM_MISMATCH',
      `${where}: its input or an output was made anew since its last checkpoint; ${wayOut(options)}`,
    )
  }
}

/** What was counted must still be what the input holds up to there. */
async function refuseShortInput(options: ResumeOptions, positions: Positions, created: string): Promise<void> {
  const { bus, log, where, input } = options
  const { input: at, inputMs = 0 } = positions
  const place = { created, sequence: at, ...(inputMs > 0 ? { timestampMs: inputMs } : {}) }
  const { identity, gap } = await compareStream(bus, input.stream, place)
  if (gap) throw inputLost(where, gap, identity.lastSequence, wayOut(options))
  const lost = identity.firstSequence - at - 1
  if (lost <= 0) return
  if (input.own) {
    throw failure(
      'STREAM_TRUNCATED',
      `${where}: ${input.stream} begins at ${identity.firstSequence}, its checkpoint is at ${at}: what was between is gone; ${wayOut(options)}`,
    )
  }
  log.warn(
    { stream: input.stream, from: at + 1, to: identity.firstSequence - 1 },
    `${where}: ${input.stream} begins at ${identity.firstSequence} and was read up to ${at}: its limits removed up to ${lost} messages unread`,
  )
}

/** The input is not what was counted: found at start, or by the reader while it runs. */
export function inputLost(where: string, gap: StreamGap, end: number, then: string): MyelinError {
  const { stream, reason, expected } = gap
  const at = expected - 1
  return failure(
    'STREAM_TRUNCATED',
    reason === 'shorter'
      ? `${where}: its input ${stream} ends at ${end}, but it was read up to ${at}: the server lost messages that are counted already; ${then}`
      : `${where}: its input ${stream} holds at ${at} another message than the one that was counted: it was made anew, or cut off and filled again; ${then}`,
  )
}

/**
 * The number of this partition's last row in a stream. What others wrote between its rows goes to the error output and out
 * of the stream.
 */
async function lastRow(
  options: ResumeOptions,
  output: number,
  place: OutputPosition,
  end: number,
  owner: string,
): Promise<number> {
  if (end === place.sequence) return place.made
  const { bus, log, where, outputs, reject } = options
  const { stream } = outputs[output]!
  let known = place.made
  let own = 0
  const foreign: StreamMessage[] = []
  for await (const message of readSpan(bus, stream, { from: place.sequence + 1, until: end })) {
    const said = message.headers.get(rowHeader) ?? ''
    const space = said.lastIndexOf(' ')
    const number = Number(said.slice(space + 1))
    if (said.slice(0, space) === owner && number > known) {
      known = number
      own += 1
    } else foreign.push(message)
  }
  // rows that the stream's limits have removed already
  if (own === 0 && foreign.length === 0) return place.made + end - place.sequence
  for (const { sequence, subject, data, headers } of foreign) {
    const writer = headers.get(rowHeader)
    if (writer !== undefined && !writer.startsWith(`${owner} `)) {
      throw failure(
        'STREAM_MISMATCH',
        `${where}: ${stream} holds at ${sequence} a row that "${writer}" wrote: two processors write one view; give one of them another`,
      )
    }
    const error = failure('FOREIGN_MESSAGE', `${stream} held at ${sequence} what ${where} did not write`)
    log.error({ code: error.code, stream, sequence, subject }, `${error.message}; it is taken out`)
    await reject({ id: `${stream}.${sequence}`, error, stream, sequence, subject, data: Buffer.from(data) })
    await deleteMessage(bus, stream, sequence).catch((reason) => {
      log.warn({ stream, sequence }, `it could not be taken out: ${messageOf(reason)}`)
    })
  }
  return known
}
