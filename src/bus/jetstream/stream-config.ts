// A stream's spec as the server's configuration: whole for a new stream, and as the changes an existing one needs. What
// the spec does not say is the operator's to set, and stays.
import { isDeepStrictEqual } from 'node:util'
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream'
import type { StreamSpec } from './streams.ts'

const nanos = 1_000_000
export const ownerKey = 'myelin-owner'
/** Names of the limits that a spec set: one that it drops later is lifted, one that an operator set stays. */
const setKey = 'myelin-set'

const unlimited = {
  max_age: 0,
  max_bytes: -1,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  duplicate_window: 120_000 * nanos,
} as const
type Limit = keyof typeof unlimited

function limitsOf(spec: StreamSpec): Partial<Record<Limit, number>> {
  return {
    ...(spec.maxAgeMs === undefined ? {} : { max_age: spec.maxAgeMs * nanos }),
    ...(spec.maxBytes === undefined ? {} : { max_bytes: spec.maxBytes }),
    ...(spec.maxMessages === undefined ? {} : { max_msgs: spec.maxMessages }),
    ...(spec.maxMessagesPerSubject === undefined ? {} : { max_msgs_per_subject: spec.maxMessagesPerSubject }),
    ...(spec.dedupWindowMs === undefined ? {} : { duplicate_window: spec.dedupWindowMs * nanos }),
  }
}

const marked = (spec: StreamSpec) => ({ [setKey]: Object.keys(limitsOf(spec)).sort().join(' ') })

/** What a spec says, without what it leaves open. */
function said(spec: StreamSpec): Partial<StreamConfig> {
  return {
    name: spec.name,
    subjects: [...spec.subjects],
    retention: spec.retention === 'workqueue' ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: spec.discard === 'old' ? DiscardPolicy.Old : DiscardPolicy.New,
    allow_direct: true,
    allow_atomic: true,
    ...limitsOf(spec),
    ...(spec.description === undefined ? {} : { description: spec.description }),
    ...(spec.storage === undefined
      ? {}
      : { storage: spec.storage === 'memory' ? StorageType.Memory : StorageType.File }),
    ...(spec.discardPerSubject ? { discard_new_per_subject: true } : {}),
    ...(spec.rollups ? { allow_rollup_hdrs: true } : {}),
    ...(spec.schedules ? { allow_msg_schedules: true } : {}),
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

/** The configuration of a new stream. */
export function newConfig(spec: StreamSpec, replicas: number): Partial<StreamConfig> & { name: string } {
  const config = said(spec)
  return {
    storage: StorageType.File,
    ...config,
    name: spec.name,
    num_replicas: replicas,
    metadata: { ...config.metadata, ...marked(spec) },
  }
}

/** What has to change of an existing stream; undefined: nothing. */
export function changesOf(existing: StreamConfig, spec: StreamSpec): Partial<StreamConfig> | undefined {
  const limits = limitsOf(spec)
  const lifted = (existing.metadata?.[setKey]?.split(' ') ?? [])
    .filter((name): name is Limit => Object.hasOwn(unlimited, name) && limits[name as Limit] === undefined)
    .map((name) => [name, unlimited[name]])
  const wanted: Partial<StreamConfig> = { ...Object.fromEntries(lifted), ...said(spec) }
  const changed = Object.entries(wanted).filter(([key, value]) => differs(existing[key as keyof StreamConfig], value))
  if (changed.length === 0) return undefined
  // others keep marks of their own in the metadata
  return { ...Object.fromEntries(changed), metadata: { ...existing.metadata, ...wanted.metadata, ...marked(spec) } }
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
