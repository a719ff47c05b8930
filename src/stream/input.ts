// What a processor's partitions read. One source and one partition: the source's own stream. Otherwise a stream of the
// processor's own, `IN_<processor>`, that the server fills from the sources: it gives several sources one order, which a
// replay finds again, and spreads keys over partitions by the server's own subject mapping.
// Source: NATS subject mapping, deterministic partitioning (`{{partition(n,token)}}`); ADR-37.
import {
  type Bus,
  ensureStream,
  failure,
  lastMessage,
  nameOf,
  now,
  ownedStream,
  purgeBefore,
  streamInfo,
} from '../bus/internal.ts'
import type { Copy } from './copies.ts'
import { markSubject } from './marks.ts'
import type { Source } from './sources.ts'

export interface Input {
  readonly stream: string
  /** It is the processor's own, which is cut when every partition has read it. */
  readonly own: boolean
  /** What of the stream a partition reads. One subject: a consumer with two of them is ten times slower on a backlog. */
  subject(partition: number): string
  /** Where a partition hears of the end of a source that another partition has read. */
  endSubject(partition: number, source: number): string
  /** Which source a message is from; on the subject of an end that was passed on, which source ended. */
  sourceOf(subject: string): number
  /** Whether nothing but an end may be on a subject. */
  isEndSubject(subject: string): boolean
  /** The subject's part after the source's fixed one. */
  keyOf(subject: string): string
  /** Makes sure that it exists. */
  ensure(bus: Bus): Promise<void>
  /** What the server copies into it. */
  copies(bus: Bus): readonly Copy[]
  /** Nothing before a sequence is needed any more. */
  trim(bus: Bus, before: number): Promise<void>
}

export const inputStream = (processor: string) => nameOf('input', processor)
/** What partitions say to each other in it: their clocks, and the ends of sources. */
export const inputSubjects = (processor: string): readonly string[] => [
  markSubject(processor, '*'),
  `in.${processor}.*.${endsToken}.*`,
]

/** Before the number of a source, where an end of input lies that one partition passes on to the others. */
const endsToken = 'ends'
const catchUpMs = 60_000

/** @throws MyelinError INVALID_OPTION when a source has no key to partition by */
export function inputOf(processor: string, sources: readonly Source<unknown>[], partitions: number): Input {
  const [only] = sources
  if (sources.length === 1 && partitions === 1 && only) return direct(only)
  if (partitions > 1) {
    const bare = sources.find(({ subject, everywhere }) => !everywhere && !/[*>]$/.test(subject))
    if (bare) {
      throw failure(
        'INVALID_OPTION',
        `processor '${processor}': ${bare.subject} has no key that it could be partitioned by; declare the event's key, or give the processor one partition`,
      )
    }
  }
  return merged(processor, sources, partitions)
}

function direct(source: Source<unknown>): Input {
  const fixed = source.subject.replace(/[*>]$/, '').length
  return {
    stream: source.stream,
    own: false,
    subject: () => source.subject,
    endSubject: () => source.subject,
    sourceOf: () => 0,
    isEndSubject: () => false,
    keyOf: (subject) => subject.slice(fixed),
    ensure: (bus) => source.ensure(bus),
    copies: () => [],
    trim: async () => undefined,
  }
}

function merged(processor: string, sources: readonly Source<unknown>[], partitions: number): Input {
  const stream = inputStream(processor)
  const each = Array.from({ length: partitions }, (_, partition) => partition)
  // in.<processor>.<partition>.<source>.<key>
  const place = ({ subject }: Source<unknown>, number: number, partition: string | number) => {
    const last = subject.at(-1)
    const tail = last === '>' ? '>' : last === '*' ? '{{wildcard(1)}}' : '_'
    return `in.${processor}.${partition}.${number}.${tail}`
  }
  /** What the server copies, and where it is in the stream; every partition gets a copy of a table that all look up in. */
  const lanes = sources.flatMap((source, number) => {
    const { subject } = source
    if (partitions === 1)
      return [{ source, from: subject, to: place(source, number, 0), at: `in.${processor}.0.${number}.>` }]
    if (source.everywhere) {
      return each.map((partition) => ({
        source,
        from: subject,
        to: place(source, number, partition),
        at: `in.${processor}.${partition}.${number}.>`,
      }))
    }
    // a bucket's keys are one token each when there is something to partition by
    const from = subject.replace(/>$/, '*')
    const to = place({ ...source, subject: from }, number, `{{partition(${partitions},1)}}`)
    return [{ source, from, to, at: `in.${processor}.*.${number}.>` }]
  })
  const copied = (wanted: readonly Source<unknown>[]) =>
    lanes
      .filter(({ source }) => wanted.includes(source))
      .map(({ source: { stream }, from, to }) => ({ stream, transforms: [{ from, to }] }))
  const spec = {
    ...ownedStream('input', processor),
    // partitions tell each other of their clocks and of the ends of sources
    subjects: partitions > 1 ? inputSubjects(processor) : [],
    description: `input of processor ${processor}: ${sources.length} sources, ${partitions} partitions`,
    metadata: { 'myelin-partitions': String(partitions) },
  }
  return {
    stream,
    own: true,
    subject: (partition) => `in.${processor}.${partition}.>`,
    endSubject: (partition, source) => `in.${processor}.${partition}.${endsToken}.${source}`,
    sourceOf(subject) {
      const number = Number.parseInt(subject.slice(nthDot(subject, 3) + 1), 10)
      return Number.isNaN(number) ? Number(subject.slice(nthDot(subject, 4) + 1)) : number
    },
    isEndSubject: (subject) => subject.startsWith(endsToken, nthDot(subject, 3) + 1),
    keyOf: (subject) => subject.slice(nthDot(subject, 4) + 1),
    async ensure(bus) {
      await Promise.all(sources.map((source) => source.ensure(bus)))
      const existing = await streamInfo(bus, stream)
      if (existing) {
        const had = Number(existing.config.metadata?.['myelin-partitions'])
        if (had !== partitions) {
          throw failure(
            'STREAM_MISMATCH',
            `processor '${processor}' has ${partitions} partitions, its input ${stream} has ${had}: keys would change their place; give it another name, or remove its streams (${stream}, ${nameOf('checkpoint part', processor, 0)}…) to begin again`,
          )
        }
        // made before partitions told each other of their clocks: whose it is first, then what it takes
        if (partitions > 1 && existing.config.subjects.length === 0) {
          await ensureStream(bus, { ...spec, subjects: [], sources: copied(sources) })
        }
      } else {
        // tables first: what is known of a key should be there before the first event asks for it
        const tables = sources.filter(({ kind }) => kind === 'table')
        if (tables.length > 0) {
          await ensureStream(bus, { ...spec, sources: copied(tables) })
          await caughtUp(
            bus,
            stream,
            lanes.filter(({ source }) => tables.includes(source)),
          )
        }
      }
      await ensureStream(bus, { ...spec, sources: copied(sources) })
    },
    copies: (bus) =>
      lanes.map(({ source, from, at }) => ({
        stream,
        origin: source.stream,
        subject: from,
        copied: () => at,
        keepsLast: true,
        ensure: () => ensureStream(bus, { ...spec, sources: copied(sources) }),
      })),
    async trim(bus, before) {
      const kept = await Promise.all(
        lanes.map(async ({ at: subject }) => ({
          subject,
          last: (await lastMessage(bus, stream, subject))?.sequence ?? before,
        })),
      )
      if (kept.every(({ last }) => last >= before)) return purgeBefore(bus, stream, before)
      // The server finds in what it copied how far it has come with a source. Of one whose last message is gone, it would
      // leave out what came while it was away; so that one stays.
      for (const { subject, last } of kept) await purgeBefore(bus, stream, Math.min(before, last), subject)
      for (const subject of spec.subjects) await purgeBefore(bus, stream, before, subject)
    },
  }
}

function nthDot(subject: string, n: number): number {
  let at = -1
  for (let i = 0; i < n; i++) at = subject.indexOf('.', at + 1)
  return at
}

/** Waits until a stream has what its sources hold now. @throws MyelinError DEADLINE_EXCEEDED */
async function caughtUp(
  bus: Bus,
  stream: string,
  lanes: readonly { readonly source: Source<unknown>; readonly from: string }[],
): Promise<void> {
  let wanted = 0
  for (const { source, from } of lanes) {
    const info = await streamInfo(bus, source.stream, { subjects: from })
    wanted += Object.values(info?.state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
  }
  for (const end = now() + catchUpMs; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const have = (await streamInfo(bus, stream))?.state.messages ?? 0
    if (have >= wanted) return
    if (now() > end)
      throw failure('DEADLINE_EXCEEDED', `${stream} did not get its tables within ${catchUpMs / 1_000} s`)
  }
}

/** The partition that the server's mapping gives a key: FNV-1a of 32 bits, modulo the number of partitions. */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(key)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash % partitions
}
