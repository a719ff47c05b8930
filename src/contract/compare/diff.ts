// Two versions of a contract compared: what changed, for whom it is additive or breaking, and why. The rules are the
// table of `docs/guide/service.md`, *Changing a contract*. A pure function over plain data.
import { durationMs } from '../durations.ts'
import { type Gap, real } from './gap.ts'
import { schemaGaps } from './schemas.ts'
import type { ContractShape, EndpointShape, EventShape, JobShape, SchemaIn } from './shape.ts'

/**
 * Whom a change concerns: programs that call endpoints and enqueue jobs; programs that handle events and work jobs; events
 * that are stored; jobs that wait. All of them are of the old version.
 */
export type Audience = 'callers' | 'handlers' | 'stored events' | 'queued jobs'

/** `unknown`: one side does not say enough to compare. */
export type Effect = 'breaking' | 'additive' | 'unknown'

/** One change between two versions of a contract, and for whom it is what. */
export interface ContractChange {
  readonly kind: 'endpoint' | 'event' | 'job'
  /** Of the endpoint, event or job. */
  readonly name: string
  readonly effect: Effect
  readonly for: readonly Audience[]
  /** What of it: `request.legs[].from`, `key`; empty for the whole. */
  readonly path: string
  readonly reason: string
}

/** All changes between two versions of a contract. */
export interface ContractDiff {
  readonly contract: string
  /** Versions; undefined where that side has no such contract. */
  readonly old: string | undefined
  readonly new: string | undefined
  readonly compatible: boolean
  /** The part of the version that must be raised for these changes (semver.org); before 1.0.0 a minor one is enough. */
  readonly raise: 'major' | 'minor' | 'none'
  readonly changes: readonly ContractChange[]
}

/**
 * What differs between two versions of a contract, breaking changes first.
 * @example const { compatible, changes } = diffContracts(shapeOf(airportsV1), shapeOf(airportsV2))
 */
export function diffContracts(before: ContractShape, after: ContractShape): ContractDiff {
  const changes = [
    ...eachOf('endpoint', before.endpoints, after.endpoints, ['callers'], ofEndpoint),
    ...eachOf('event', before.events, after.events, ['handlers'], ofEvent),
    ...eachOf('job', before.jobs, after.jobs, ['callers', 'queued jobs'], ofJob),
  ]
  return outcome(before.name, before.version, after.version, changes)
}

/**
 * Contracts by their names, one side's against the other's; a name that only one side has is added or removed whole.
 * @example const differences = diffAll(shapesOfDocument(released), [airports, flights].map(shapeOf))
 */
export function diffAll(before: readonly ContractShape[], after: readonly ContractShape[]): ContractDiff[] {
  const found: ContractDiff[] = []
  for (const old of before) {
    const now = after.find(({ name }) => name === old.name)
    if (now) found.push(diffContracts(old, now))
    else found.push(outcome(old.name, old.version, undefined, diffContracts(old, nothing(old)).changes))
  }
  for (const now of after) {
    if (before.some(({ name }) => name === now.name)) continue
    found.push(outcome(now.name, undefined, now.version, diffContracts(nothing(now), now).changes))
  }
  return found
}

const nothing = ({ name, version }: ContractShape): ContractShape => ({
  ...{ name, version, endpoints: {}, events: {}, jobs: {} },
})

const order: readonly Effect[] = ['breaking', 'unknown', 'additive']

function outcome(
  contract: string,
  old: string | undefined,
  now: string | undefined,
  found: readonly ContractChange[],
): ContractDiff {
  const changes = order.flatMap((effect) => found.filter((change) => change.effect === effect))
  const compatible = !changes.some(({ effect }) => effect === 'breaking')
  const raise = !compatible ? 'major' : changes.length > 0 ? 'minor' : 'none'
  return { contract, old, new: now, compatible, raise, changes }
}

type Change = Pick<ContractChange, 'effect' | 'for' | 'path' | 'reason'>

function eachOf<Shape>(
  kind: ContractChange['kind'],
  before: Readonly<Record<string, Shape>>,
  after: Readonly<Record<string, Shape>>,
  users: readonly Audience[],
  compare: (old: Shape, now: Shape) => Change[],
): ContractChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.flatMap((name) => {
    const [old, now] = [own(before, name), own(after, name)]
    const found =
      old && now
        ? compare(old, now)
        : old
          ? [breaking(users, '', `the ${kind} is removed`)]
          : [additive(users.slice(0, 1), '', `the ${kind} is new`)]
    return found.map((change) => ({ kind, name, ...change }))
  })
}

const own = <Value>(of: Readonly<Record<string, Value>>, name: string) =>
  Object.hasOwn(of, name) ? of[name] : undefined

const breaking = (whom: readonly Audience[], path: string, reason: string): Change => ({
  ...{ effect: 'breaking', for: whom, path, reason },
})
const additive = (whom: readonly Audience[], path: string, reason: string): Change => ({
  ...{ effect: 'additive', for: whom, path, reason },
})

function ofEndpoint(old: EndpointShape, now: EndpointShape): Change[] {
  const callers = ['callers'] as const
  const found: Change[] = [
    ...payload('request', old.request, now.request, { narrowed: callers }, callers),
    ...payload('reply', old.reply, now.reply, { widened: callers }, callers),
  ]
  if (old.streamed !== now.streamed)
    found.push(breaking(callers, 'reply', now.streamed ? 'is a stream of items now' : 'is no stream any more'))
  if (old.idempotent && !now.idempotent)
    found.push(breaking(callers, 'idempotent', 'callers still call again after a failure, so it may be done twice'))
  if (!old.idempotent && now.idempotent) found.push(additive(callers, 'idempotent', 'may be called again now'))
  if (old.claimCheck && !now.claimCheck)
    found.push(breaking(callers, 'claimCheck', 'payloads over the limit of a message are refused now'))
  if (!old.claimCheck && now.claimCheck)
    found.push(additive(callers, 'claimCheck', 'payloads over the limit of a message are possible now'))
  for (const code of new Set([...Object.keys(old.errors), ...Object.keys(now.errors)])) {
    const path = `errors.${code}`
    if (!Object.hasOwn(old.errors, code)) found.push(additive(callers, path, 'is new; old callers get it as INTERNAL'))
    else if (!Object.hasOwn(now.errors, code)) found.push(additive(callers, path, 'does not come any more'))
    // services that run say which errors there are, and those of other libraries not what is in them
    else if (old.errors[code] && now.errors[code])
      found.push(...payload(path, old.errors[code], now.errors[code], { widened: callers }, callers))
  }
  return found
}

function ofEvent(old: EventShape, now: EventShape): Change[] {
  const both: readonly Audience[] = old.durable ? ['handlers', 'stored events'] : ['handlers']
  const breaks: Breaks = { widened: ['handlers'], ...(old.durable ? { narrowed: ['stored events'] } : {}) }
  const found = payload('payload', old.payload, now.payload, breaks, ['handlers'])
  if (old.key !== now.key) {
    const text = (key: string | undefined) => (key === undefined ? 'no key' : `the key "${key}"`)
    found.push(breaking(both, 'key', `is on other subjects: it had ${text(old.key)} and has ${text(now.key)} now`))
  }
  if (old.durable && !now.durable)
    found.push(
      breaking(
        ['handlers', 'stored events'],
        'durable',
        'is not stored any more: handlers miss what comes while they are away',
      ),
    )
  if (!old.durable && now.durable) found.push(additive(['handlers'], 'durable', 'is stored now'))
  if (old.durable && now.durable) {
    const [was, is] = [old.durable, now.durable]
    const stored = ['stored events'] as const
    if ((was.storage ?? 'file') !== (is.storage ?? 'file'))
      found.push(
        breaking(
          stored,
          'durable.storage',
          `the server cannot move a stream from ${was.storage ?? 'file'} to ${is.storage ?? 'file'}`,
        ),
      )
    for (const limit of ['maxAge', 'maxBytes', 'maxMessages'] as const) {
      const [from, to] = [limitOf(was[limit], limit), limitOf(is[limit], limit)]
      if (to < from)
        found.push(breaking(stored, `durable.${limit}`, `is ${is[limit]} now: events beyond it are removed`))
      else if (to > from) found.push(additive(stored, `durable.${limit}`, `is ${is[limit] ?? 'without end'} now`))
    }
  }
  return found
}

function limitOf(value: unknown, where: string): number {
  if (value === undefined) return Number.POSITIVE_INFINITY
  try {
    return durationMs(value as number, where)
  } catch {
    return Number(value) // what another program says of itself may be anything
  }
}

function ofJob(old: JobShape, now: JobShape): Change[] {
  const found = payload(
    'payload',
    old.payload,
    now.payload,
    { narrowed: ['callers', 'queued jobs'], widened: ['handlers'] },
    ['callers'],
  )
  if (old.unique !== now.unique) {
    const text = (field: string | undefined) => (field === undefined ? 'not unique' : `unique by "${field}"`)
    found.push(
      breaking(
        ['callers', 'queued jobs'],
        'unique',
        `is on other subjects: it was ${text(old.unique)} and is ${text(now.unique)} now`,
      ),
    )
  }
  return found
}

/** Whom it breaks that values are not allowed any more, and whom, that new values are. */
interface Breaks {
  readonly narrowed?: readonly Audience[]
  readonly widened?: readonly Audience[]
}

/** A payload's schema, old against new. What breaks nobody is additive. */
function payload(
  part: string,
  old: SchemaIn | undefined,
  now: SchemaIn | undefined,
  breaks: Breaks,
  otherwise: readonly Audience[],
): Change[] {
  if (!old && !now) return []
  if (!old || !now) {
    const reason = `the ${old ? 'new' : 'old'} side tells no JSON Schema of it`
    return [{ effect: 'unknown', for: otherwise, path: part, reason }]
  }
  const found: Change[] = []
  for (const [way, gaps] of [
    ['narrowed', schemaGaps(old, now)],
    ['widened', schemaGaps(now, old)],
  ] as const) {
    for (const gap of gaps) {
      const whom = breaks[way]
      const path = pathOf(part, gap)
      found.push(real(gap) && whom ? breaking(whom, path, gap[way]) : additive(otherwise, path, gap[way]))
    }
  }
  // what breaks somebody at a place is said once
  const broken = new Set(found.filter(({ effect }) => effect === 'breaking').map(({ path }) => path))
  return found.filter(({ effect, path }) => effect === 'breaking' || !broken.has(path))
}

const pathOf = (part: string, { path }: Gap) =>
  path.reduce((whole, step) => (step.startsWith('[') ? `${whole}${step}` : `${whole}.${step}`), part)
