// What a reader asks the server for: a consumer's settings, and whether one that exists is meant for the same.
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  JetStreamApiError,
  ReplayPolicy,
} from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure } from '../errors.ts'
import { parseTime } from '../time.ts'
import { manager } from './api.ts'
import type { DurableOptions, StartPosition } from './reader.ts'
import { streamInfo } from './streams.ts'

const nanos = 1_000_000
const consumerNotFound = 10014 // nats-server's server/errors.json

/** How long the server keeps a reader's own consumer without a sign of it. */
const orderedInactiveMs = 60_000

export function orderedConfig(
  name: string,
  subjects: readonly string[] | undefined,
  from: StartPosition,
): Partial<ConsumerConfig> {
  return {
    name,
    replay_policy: ReplayPolicy.Instant,
    ack_policy: AckPolicy.None,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: orderedInactiveMs * nanos,
    // the server insists on a filter for the last of each subject
    ...filterOf(subjects ?? (from === 'last-per-subject' ? ['>'] : [])),
    ...startOf(from),
  }
}

/** Without `num_replicas`: it has as many as its stream, also when those change. */
export function durableConfig(
  durable: DurableOptions,
  subjects: readonly string[] | undefined,
  from: StartPosition,
): Partial<ConsumerConfig> {
  return {
    durable_name: durable.name,
    replay_policy: ReplayPolicy.Instant,
    ack_policy: AckPolicy.Explicit,
    ...changeable(durable),
    ...(durable.inactiveMs === undefined ? {} : { inactive_threshold: durable.inactiveMs * nanos }),
    ...filterOf(subjects ?? []),
    ...startOf(from),
  }
}

const changeable = (durable: DurableOptions) => ({
  ack_wait: durable.ackWaitMs * nanos,
  max_deliver: durable.maxDeliver ?? -1,
  max_ack_pending: durable.maxAckPending ?? -1,
})

function filterOf(subjects: readonly string[]): Partial<ConsumerConfig> {
  if (subjects.length === 0) return {}
  return subjects.length === 1 ? { filter_subject: subjects[0]! } : { filter_subjects: [...subjects] }
}

function startOf(from: StartPosition): Partial<ConsumerConfig> {
  if (from === 'start') return { deliver_policy: DeliverPolicy.All }
  if (from === 'new') return { deliver_policy: DeliverPolicy.New }
  if (from === 'last-per-subject') return { deliver_policy: DeliverPolicy.LastPerSubject }
  if ('sequence' in from)
    return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from.sequence) }
  const timeMs = parseTime(from.timeMs)
  if (timeMs === undefined) throw failure('INVALID_OPTION', `from: timeMs: expected unix ms, got ${from.timeMs}`)
  // the server takes no years but those of four digits
  const at = Math.min(Math.max(timeMs, 0), Date.parse('9999-12-31T23:59:59.999Z'))
  return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(at).toISOString() }
}

/** What the server knows of a consumer, or undefined if there is none. */
export async function consumerInfo(bus: Bus, stream: string, name: string): Promise<ConsumerInfo | undefined> {
  try {
    return await (await manager(bus)).consumers.info(stream, name)
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === consumerNotFound) return undefined
    throw error
  }
}

/**
 * Brings a durable that exists up to date with what may change.
 * @throws MyelinError INVALID_OPTION when it picks other messages: who shares a consumer cannot ask for others
 */
export async function joinDurable(
  bus: Bus,
  stream: string,
  { config }: ConsumerInfo,
  durable: DurableOptions,
  subjects: readonly string[] | undefined,
): Promise<void> {
  const has = config.filter_subjects ?? (config.filter_subject ? [config.filter_subject] : [])
  const wanted = subjects ?? []
  const differs = has.length !== wanted.length || has.some((subject) => !wanted.includes(subject))
  if (differs && !(await outdated(bus, stream, has))) {
    const text = (picks: readonly string[]) => picks.join(', ') || 'everything'
    throw failure(
      'INVALID_OPTION',
      `stream ${stream}: the group "${durable.name}" reads ${text(has)}, and a member of it cannot read ${text(wanted)}: what one member is given the others are not; give this one another group name`,
    )
  }
  const changes = { ...changeable(durable), ...(differs ? filterOf(wanted) : {}) }
  if (Object.entries(changes).some(([key, value]) => config[key as keyof ConsumerConfig] !== value)) {
    await (await manager(bus)).consumers.update(stream, durable.name, changes)
  }
}

/** Whether the stream takes nothing any more of what a consumer picks: its contract was changed since. */
async function outdated(bus: Bus, stream: string, picks: readonly string[]): Promise<boolean> {
  const taken = (await streamInfo(bus, stream))?.config.subjects ?? []
  return picks.length > 0 && taken.length > 0 && !picks.some((pick) => taken.some((subject) => meet(pick, subject)))
}

/** Whether some subject fits both patterns. */
function meet(one: string, other: string): boolean {
  const [a, b] = [one.split('.'), other.split('.')]
  for (let i = 0; ; i++) {
    if (a[i] === '>' || b[i] === '>') return a[i] !== undefined && b[i] !== undefined
    if (a[i] === undefined || b[i] === undefined) return a[i] === b[i]
    if (a[i] !== b[i] && a[i] !== '*' && b[i] !== '*') return false
  }
}
