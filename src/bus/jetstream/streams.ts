// Streams as specs: created when missing, brought up to date when they differ.

import { isDeepStrictEqual } from 'node:util'
import { JetStreamApiError, type StreamConfig, type StreamInfo } from '@nats-io/jetstream'
import { backoff } from '../backoff.ts'
import type { Bus } from '../bus.ts'
import { now } from '../clock.ts'
import { failure, hasCode, type MyelinError, messageOf } from '../errors.ts'
import { sleep } from '../timer.ts'
import { apiFailure, manager } from './api.ts'
import { copiesOf, copiesWanted, replicasFailure, tooMany } from './replicas.ts'
import { changesOf, newConfig, ownerKey } from './stream-config.ts'

/** What a stream is called, takes and keeps; see {@link ensureStream}. */
export interface StreamSpec {
  readonly name: string
  readonly subjects: readonly string[]
  readonly description?: string
  /** `limits` keeps messages until a limit is met; `workqueue` until one worker acknowledged. Default `limits`. */
  readonly retention?: 'limits' | 'workqueue'
  readonly storage?: 'file' | 'memory'
  /** Copies in a cluster, 1 to 5. Default: the connection's `replicas`, else three where the servers can. */
  readonly replicas?: number
  readonly maxAgeMs?: number
  /** The server sets this much aside when the stream is made, and refuses streams for which too little is left. */
  readonly maxBytes?: number
  readonly maxMessages?: number
  readonly maxMessagesPerSubject?: number
  /** How long the server remembers `Nats-Msg-Id`s. Its default is 2 minutes. */
  readonly dedupWindowMs?: number
  /** At a limit: refuse new messages (`new`, the default: nothing is lost silently) or drop the oldest (`old`). */
  readonly discard?: 'new' | 'old'
  /** With `discard: new`: `maxMessagesPerSubject` refuses instead of dropping the subject's oldest. */
  readonly discardPerSubject?: boolean
  /** Allows messages that the server publishes later (`Nats-Schedule`, ADR-51; nats-server 2.12). */
  readonly schedules?: boolean
  /** Messages may replace all earlier ones of their subject (`Nats-Rollup`); buckets forget keys by that. */
  readonly rollups?: boolean
  /** What exists is left as it is, but for its replicas. */
  readonly asItIs?: boolean
  readonly metadata?: Readonly<Record<string, string>>
  /** What it belongs to, kept in its metadata (`myelin-owner`): a stream of another owner is left as it is. */
  readonly owner?: string
  /** Streams that the server copies from, each message once and in its stream's order (ADR-37: subject transforms). */
  readonly sources?: readonly StreamSourceSpec[]
}

/** What the server copies out of another stream. */
export interface StreamSourceSpec {
  readonly stream: string
  /** What is copied, and under which subject it arrives. */
  readonly transforms: readonly { readonly from: string; readonly to: string }[]
}

const subjectsOverlap = 10065 // nats-server's server/errors.json

const patienceMs = 20_000

/**
 * Makes sure that a stream exists with these settings. Safe to call from many processes at once. What the spec leaves
 * open stays as an operator set it, and replicas are never lowered. A stream that belongs to something else, or takes
 * subjects that this spec does not name, is left as it is. Waits up to 20 s for servers that elect a leader.
 * @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, STREAM_FULL, REPLICAS_UNAVAILABLE, NO_LEADER
 * @example await ensureStream(bus, { name: 'ORDERS', subjects: ['orders.>'], maxAgeMs: 7 * 86_400_000 })
 */
export async function ensureStream(bus: Bus, spec: StreamSpec): Promise<void> {
  const end = now() + patienceMs
  const nextMs = backoff(100, 2_000)
  for (;;) {
    const waitMs = nextMs()
    try {
      const existing = await streamInfo(bus, spec.name)
      return await (existing ? bringUpToDate(bus, existing, spec) : create(bus, spec))
    } catch (error) {
      const passing = hasCode(error, 'NO_LEADER', 'DEADLINE_EXCEEDED')
      if (!passing || bus.nats.isClosed() || now() + waitMs > end) throw error
    }
    await sleep(waitMs)
  }
}

async function create(bus: Bus, spec: StreamSpec): Promise<void> {
  const { streams } = await manager(bus)
  const copies = copiesOf(bus, spec.replicas)
  const add = (count: number) => streams.add(newConfig(spec, count))
  try {
    await add(copies.count).catch((error) => {
      if (!tooMany(bus, copies, error)) throw error
      return add(1)
    })
  } catch (error) {
    const faster = await streamInfo(bus, spec.name) // another process may have made it
    if (faster) return bringUpToDate(bus, faster, spec)
    throw (
      (await overlap(bus, spec, error)) ??
      replicasFailure(spec.name, copies.count, error) ??
      noRoom(spec, error) ??
      apiFailure(error, `stream ${spec.name}`)
    )
  }
}

async function bringUpToDate(bus: Bus, { config, ...info }: StreamInfo, spec: StreamSpec): Promise<void> {
  const changes = spec.asItIs ? undefined : changesOf(config, spec)
  const copies = copiesWanted(bus, spec.replicas, { config, ...info })
  if (!changes && copies.count === config.num_replicas) return
  refuseForeign(config, spec)
  const { streams } = await manager(bus)
  const update = (count: number) => streams.update(spec.name, { ...config, ...changes, num_replicas: count })
  try {
    await update(copies.count).catch((error) => {
      // more copies are a wish where nobody asked for them, or may not ask; see `belowWish`
      const mayNot = apiFailure(error, spec.name).code === 'PERMISSION_DENIED'
      if (copies.count === config.num_replicas || !(mayNot || tooMany(bus, copies, error))) throw error
      return changes && update(config.num_replicas)
    })
  } catch (cause) {
    const mapped =
      (await overlap(bus, spec, cause)) ??
      replicasFailure(spec.name, copies.count, cause) ??
      noRoom(spec, cause) ??
      apiFailure(cause, `stream ${spec.name}`)
    const known = mapped.retriable || mapped.code === 'STREAM_MISMATCH' || mapped.code === 'REPLICAS_UNAVAILABLE'
    if (known) throw mapped
    const keys = Object.keys(changes ?? { replicas: 0 }).filter((key) => key !== 'metadata')
    const what = keys.join(', ') || 'metadata'
    throw failure('STREAM_MISMATCH', `stream ${spec.name} cannot be changed (${what}): ${messageOf(cause)}`, { cause })
  }
}

/** The server sets the whole of a stream's byte limit aside when the stream is made. */
function noRoom(spec: StreamSpec, error: unknown): MyelinError | undefined {
  if (!(error instanceof JetStreamApiError) || spec.maxBytes === undefined) return undefined
  if (!reserving.has(error.code)) return undefined
  return failure(
    'STREAM_FULL',
    `stream ${spec.name}: the server sets its maxBytes (${spec.maxBytes}) aside and has not as much left (${messageOf(error)}); give a smaller maxBytes, or the server a larger max_file_store`,
    { cause: error },
  )
}
const reserving = new Set([10023, 10028, 10047]) // nats-server's server/errors.json

/** @throws MyelinError STREAM_MISMATCH when the stream is another's: what it takes and keeps must stay as it is */
function refuseForeign({ name, subjects = [], metadata }: StreamConfig, spec: StreamSpec): void {
  const owner = metadata?.[ownerKey]
  if (owner !== undefined && owner === spec.owner) return
  const takes = subjects.join(', ') || 'no subjects of its own'
  if (owner === undefined) {
    // made by hand, or by a version that named no owner: taken over where nothing is taken from it
    const wanted = (subject: string) => spec.subjects.includes(subject)
    const ours = spec.owner === undefined ? subjects.length === 0 || subjects.some(wanted) : subjects.every(wanted)
    if (ours && (subjects.length > 0 || spec.subjects.length === 0)) return
  }
  const whose = owner === undefined ? 'something else' : `"${owner}"`
  const wanted = spec.owner === undefined ? 'a stream without an owner' : `"${spec.owner}"`
  throw failure(
    'STREAM_MISMATCH',
    `stream ${name} belongs to ${whose} (it takes ${takes}) and not to ${wanted} (${spec.subjects.join(', ') || 'no subjects of its own'}); nothing was changed: choose another name, or remove the stream if its content may go`,
    { data: { stream: name, ...(owner === undefined ? {} : { owner }) } },
  )
}

/** Names the stream that takes the wanted subjects already, if that was the reason. */
async function overlap(bus: Bus, spec: StreamSpec, error: unknown): Promise<MyelinError | undefined> {
  if (!(error instanceof JetStreamApiError) || error.code !== subjectsOverlap) return undefined
  for (const subject of spec.subjects) {
    const names = await (await manager(bus)).streams.names(subject).next()
    const other = names.find((name) => name !== spec.name)
    if (other) {
      return failure(
        'STREAM_MISMATCH',
        `stream ${spec.name} cannot take ${subject}: stream ${other} takes it already; remove ${other} if its content may go, or choose another name`,
        { cause: error },
      )
    }
  }
  return undefined
}

/** The name of a stream that had another one before: that one, where it is there and takes exactly these subjects. */
export async function nameKept(bus: Bus, name: string, former: string, subjects: readonly string[]): Promise<string> {
  const before = former === name ? undefined : await streamInfo(bus, former)
  return before && isDeepStrictEqual(before.config.subjects, subjects) ? former : name
}

/**
 * What the server knows of a stream, or undefined if there is none. @throws MyelinError JETSTREAM_DISABLED
 * @example const stored = (await streamInfo(bus, 'ORDERS'))?.state.messages
 */
export async function streamInfo(
  bus: Bus,
  name: string,
  options: { /** count messages per subject that fits this filter */ subjects?: string } = {},
): Promise<StreamInfo | undefined> {
  try {
    return await (await manager(bus)).streams.info(
      name,
      options.subjects === undefined ? undefined : { subjects_filter: options.subjects },
    )
  } catch (error) {
    const mapped = apiFailure(error, `stream ${name}`)
    if (mapped.code === 'STREAM_NOT_FOUND') return undefined
    throw mapped
  }
}

/**
 * Removes a stream and all it holds; nothing happens if there is none.
 * @example await removeStream(bus, 'ORDERS')
 */
export async function removeStream(bus: Bus, name: string): Promise<void> {
  try {
    await (await manager(bus)).streams.delete(name)
  } catch (error) {
    const mapped = apiFailure(error, `stream ${name}`)
    if (mapped.code !== 'STREAM_NOT_FOUND') throw mapped
  }
}

/** Removes a stream's messages before a sequence; of some subjects only if they are given. */
export async function purgeBefore(bus: Bus, name: string, sequence: number, subject?: string): Promise<void> {
  // to the server a purge up to sequence 1 is one without a sequence: it would remove everything
  if (!(sequence > 1)) return
  try {
    await (await manager(bus)).streams.purge(name, {
      seq: sequence,
      ...(subject === undefined ? {} : { filter: subject }),
    })
  } catch (error) {
    throw apiFailure(error, `stream ${name}`)
  }
}

/** Removes one message from a stream; nothing happens if it is gone already. */
export async function deleteMessage(bus: Bus, stream: string, sequence: number): Promise<void> {
  try {
    await (await manager(bus)).streams.deleteMessage(stream, sequence, false)
  } catch (error) {
    if (!/no message found|not found/i.test(messageOf(error))) throw apiFailure(error, `stream ${stream}`)
  }
}

/** Makes the server begin anew to copy a subject from a stream, behind the last message that it copied from it. */
export async function renewSource(bus: Bus, name: string, origin: string, subject: string): Promise<void> {
  const { streams } = await manager(bus)
  try {
    const { config } = await streams.info(name)
    const others = (config.sources ?? []).filter(
      ({ name: from, subject_transforms: to = [] }) => from !== origin || to.every(({ src }) => src !== subject),
    )
    if (others.length === (config.sources?.length ?? 0)) return
    await streams.update(name, { ...config, sources: others })
    await streams.update(name, config)
  } catch (error) {
    throw apiFailure(error, `stream ${name}`)
  }
}

/** A stream with fewer copies than are wanted here. */
export interface FewCopies {
  readonly stream: string
  readonly replicas: number
  readonly wanted: number
}

/**
 * The streams that have fewer replicas than what is wanted on this connection (`replicas` of `connect`, or three in a
 * cluster): made before there was a cluster, or by somebody who may not ask for more. Empty on a server of its own, and
 * for a user who may not list streams.
 * @example for (const { stream, replicas, wanted } of await belowWish(bus)) console.log(stream, replicas, wanted)
 */
export async function belowWish(bus: Bus): Promise<FewCopies[]> {
  const few: FewCopies[] = []
  try {
    for await (const info of (await manager(bus)).streams.list()) {
      if (!info.cluster?.name) return []
      const { count: wanted } = copiesWanted(bus, undefined, info)
      const { name: stream, num_replicas: replicas } = info.config
      if (replicas < wanted) few.push({ stream, replicas, wanted })
    }
  } catch {
    return []
  }
  return few
}
