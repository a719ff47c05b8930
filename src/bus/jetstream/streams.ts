// Streams as specs: created when missing, brought up to date when they differ.

import { isDeepStrictEqual } from 'node:util'
import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure, type MyelinError, messageOf } from '../errors.ts'
import { apiFailure, manager } from './api.ts'

export interface StreamSpec {
  readonly name: string
  readonly subjects: readonly string[]
  readonly description?: string
  /** `limits` keeps messages until a limit is met; `workqueue` until one worker acknowledged. Default `limits`. */
  readonly retention?: 'limits' | 'workqueue'
  readonly storage?: 'file' | 'memory'
  readonly replicas?: number
  readonly maxAgeMs?: number
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
  readonly metadata?: Readonly<Record<string, string>>
  /** What it belongs to, kept in its metadata (`myelin-owner`): a stream of another owner is left as it is. */
  readonly owner?: string
  /** Streams that the server copies from, each message once and in its stream's order (ADR-37: subject transforms). */
  readonly sources?: readonly StreamSourceSpec[]
}

export interface StreamSourceSpec {
  readonly stream: string
  /** What is copied, and under which subject it arrives. */
  readonly transforms: readonly { readonly from: string; readonly to: string }[]
}

const nanos = 1_000_000
const subjectsOverlap = 10065 // nats-server's server/errors.json

const ownerKey = 'myelin-owner'

/**
 * Makes sure that a stream exists with these settings. Safe to call from many processes at once. A stream that belongs
 * to something else, or takes subjects that this spec does not name, is left as it is.
 * @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, STREAM_FULL
 */
export async function ensureStream(bus: Bus, spec: StreamSpec): Promise<void> {
  const existing = await streamInfo(bus, spec.name)
  if (existing) return bringUpToDate(bus, existing.config, spec)
  const { streams } = await manager(bus)
  try {
    await streams.add({ ...toConfig(spec), name: spec.name })
  } catch (error) {
    const faster = await streamInfo(bus, spec.name) // another process may have made it
    if (faster) return bringUpToDate(bus, faster.config, spec)
    throw (await overlap(bus, spec, error)) ?? apiFailure(error, `stream ${spec.name}`)
  }
}

async function bringUpToDate(bus: Bus, existing: StreamConfig, spec: StreamSpec): Promise<void> {
  const wanted = toConfig(spec)
  const changed = Object.entries(wanted).filter(([key, value]) => differs(existing[key as keyof StreamConfig], value))
  if (changed.length === 0) return
  refuseForeign(existing, spec)
  const { streams } = await manager(bus)
  try {
    // others keep marks of their own in the metadata
    await streams.update(spec.name, {
      ...existing,
      ...wanted,
      metadata: { ...existing.metadata, ...wanted.metadata },
    })
  } catch (cause) {
    const mapped = (await overlap(bus, spec, cause)) ?? apiFailure(cause, `stream ${spec.name}`)
    if (mapped.retriable || mapped.code === 'STREAM_MISMATCH') throw mapped // not answered, or told already
    const keys = changed.map(([key]) => key).join(', ')
    throw failure('STREAM_MISMATCH', `stream ${spec.name} cannot be changed (${keys}): ${messageOf(cause)}`, { cause })
  }
}

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

/** What the server knows of a stream, or undefined if there is none. @throws MyelinError JETSTREAM_DISABLED */
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

/** Removes a stream and all it holds; nothing happens if there is none. */
export async function removeStream(bus: Bus, name: string): Promise<void> {
  try {
    await (await manager(bus)).streams.delete(name)
  } catch (error) {
    const mapped = apiFailure(error, `stream ${name}`)
    if (mapped.code !== 'STREAM_NOT_FOUND') throw mapped
  }
}

/** Removes a stream's messages before a sequence. */
export async function purgeBefore(bus: Bus, name: string, sequence: number): Promise<void> {
  // to the server a purge up to sequence 1 is one without a sequence: it would remove everything
  if (!(sequence > 1)) return
  try {
    await (await manager(bus)).streams.purge(name, { seq: sequence })
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

function toConfig(spec: StreamSpec): Partial<StreamConfig> {
  return {
    name: spec.name,
    subjects: [...spec.subjects],
    description: spec.description ?? '',
    retention: spec.retention === 'workqueue' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    storage: spec.storage === 'memory' ? StorageType.Memory : StorageType.File,
    num_replicas: spec.replicas ?? 1,
    max_age: (spec.maxAgeMs ?? 0) * nanos,
    max_bytes: spec.maxBytes ?? -1,
    max_msgs: spec.maxMessages ?? -1,
    max_msgs_per_subject: spec.maxMessagesPerSubject ?? -1,
    discard: spec.discard === 'old' ? DiscardPolicy.Old : DiscardPolicy.New,
    allow_direct: true,
    allow_atomic: true,
    ...(spec.discardPerSubject ? { discard_new_per_subject: true } : {}),
    ...(spec.schedules ? { allow_msg_schedules: true } : {}),
    ...(spec.dedupWindowMs === undefined ? {} : { duplicate_window: spec.dedupWindowMs * nanos }),
    ...(spec.sources === undefined
      ? {}
      : {
          sources: spec.sources.map(({ stream, transforms }) => ({
            name: stream,
            subject_transforms: transforms.map(({ from, to }) => ({ src: from, dest: to })),
          })),
        }),
    ...(spec.metadata === undefined && spec.owner === undefined
      ? {}
      : { metadata: { ...spec.metadata, ...(spec.owner === undefined ? {} : { [ownerKey]: spec.owner }) } }),
  }
}

function differs(have: unknown, want: unknown): boolean {
  if (Array.isArray(want) && typeof want[0] === 'object') return !isDeepStrictEqual(plain(have), plain(want))
  if (typeof want === 'object' && want !== null && !Array.isArray(want)) {
    // the server adds its own keys to metadata
    return Object.entries(want).some(([key, value]) => (have as Record<string, unknown> | undefined)?.[key] !== value)
  }
  return (
    JSON.stringify(have ?? null) !== JSON.stringify(want) &&
    !(have === undefined && (want === '' || want === 0 || (Array.isArray(want) && want.length === 0)))
  )
}

/** What can be compared of a list of sources: the server adds its own fields to those it keeps. */
const plain = (sources: unknown) =>
  ((sources ?? []) as { name: string; subject_transforms?: { src: string; dest: string }[] }[])
    .map(({ name, subject_transforms = [] }) => ({
      name,
      to: subject_transforms.map(({ src, dest }) => `${src} ${dest}`),
    }))
    .sort((a, b) => a.name.localeCompare(b.name))
