// Streams as specs: created when missing, brought up to date when they differ.

import { isDeepStrictEqual } from 'node:util'
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig, type StreamInfo } from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure, messageOf } from '../errors.ts'
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
  /** Streams that the server copies from, each message once and in its stream's order (ADR-37: subject transforms). */
  readonly sources?: readonly StreamSourceSpec[]
}

export interface StreamSourceSpec {
  readonly stream: string
  /** What is copied, and under which subject it arrives. */
  readonly transforms: readonly { readonly from: string; readonly to: string }[]
}

const nanos = 1_000_000

/**
 * Makes sure that a stream exists with these settings. Safe to call from many processes at once.
 * @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, STREAM_FULL
 */
export async function ensureStream(bus: Bus, spec: StreamSpec): Promise<void> {
  const wanted = toConfig(spec)
  const { streams } = await manager(bus)
  const existing = await streamInfo(bus, spec.name)
  if (existing) {
    const changed = Object.entries(wanted).filter(([key, value]) =>
      differs(existing.config[key as keyof StreamConfig], value),
    )
    if (changed.length === 0) return
    try {
      await streams.update(spec.name, { ...existing.config, ...wanted })
    } catch (cause) {
      const mapped = apiFailure(cause, `stream ${spec.name}`)
      if (mapped.retriable) throw mapped // not refused, only not answered
      const keys = changed.map(([key]) => key).join(', ')
      throw failure('STREAM_MISMATCH', `stream ${spec.name} cannot be changed (${keys}): ${messageOf(cause)}`, {
        cause,
      })
    }
    return
  }
  try {
    await streams.add({ ...wanted, name: spec.name })
  } catch (error) {
    if (await streamInfo(bus, spec.name)) return // another process was faster
    throw apiFailure(error, `stream ${spec.name}`)
  }
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
    ...(spec.metadata === undefined ? {} : { metadata: { ...spec.metadata } }),
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
