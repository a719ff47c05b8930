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
} from '../bus/index.ts'
import type { Copy } from './copies.ts'
import { markSubject } from './marks.ts'
import type { Source } from './sources.ts'

export interface Input {
  readonly stream: string
  /** It is the processor's own, which is cut when every partition has read it. */
  readonly own: boolean
  /** What of the stream a partition reads. */
  subjects(partition: number): readonly string[]
  /** Whether a message is another partition's, heard here only because an end of input would have the same subject. */
  isOthers(subject: string, partition: number): boolean
  /** Which source a message is from. */
  sourceOf(subject: string): number
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

/** The token of an end-of-input marker: it has a partition like any key, and all of them must hear it. */
const endToken = '_end'
const everywhere = 'all'
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
    subjects: () => [source.subject],
    isOthers: () => false,
    sourceOf: () => 0,
    keyOf: (subject) => subject.slice(fixed),
    ensure: (bus) => source.ensure(bus),
    copies: () => [],
    trim: async () => undefined,
  }
}

function merged(processor: string, sources: readonly Source<unknown>[], partitions: number): Input {
  const stream = inputStream(processor)
  // in.<processor>.<partition>.<source>.<key>
  const place = (source: Source<unknown>, number: number) => {
    const last = source.subject.at(-1)
    const tail = last === '>' ? '>' : last === '*' ? '{{wildcard(1)}}' : '_'
    const partition = source.everywhere ? everywhere : partitions === 1 ? '0' : `{{partition(${partitions},1)}}`
    return `in.${processor}.${partition}.${number}.${tail}`
  }
  const copied = (wanted: readonly Source<unknown>[]) =>
    wanted.map((source) => ({
      stream: source.stream,
      // a bucket's keys are one token each when there is something to partition by
      transforms: [
        {
          from: partitions > 1 && !source.everywhere ? source.subject.replace(/>$/, '*') : source.subject,
          to:
            partitions > 1 && !source.everywhere
              ? place({ ...source, subject: source.subject.replace(/>$/, '*') }, sources.indexOf(source))
              : place(source, sources.indexOf(source)),
        },
      ],
    }))
  const spec = {
    ...ownedStream('input', processor),
    // partitions tell each other of their clocks
    subjects: partitions > 1 ? [markSubject(processor, '*')] : [],
    description: `input of processor ${processor}: ${sources.length} sources, ${partitions} partitions`,
    metadata: { 'myelin-partitions': String(partitions) },
  }
  return {
    stream,
    own: true,
    subjects(partition) {
      const own = `in.${processor}.${partition}.>`
      const shared = sources.some((source) => source.everywhere) ? [`in.${processor}.${everywhere}.>`] : []
      const ends = partitionOf(endToken, partitions)
      return [own, ...shared, ...(ends === partition ? [] : [`in.${processor}.${ends}.*.${endToken}`])]
    },
    isOthers(subject, partition) {
      if (partitions === 1 || !subject.endsWith(`.${endToken}`)) return false
      const of = Number.parseInt(subject.slice(nthDot(subject, 2) + 1), 10)
      return Number.isInteger(of) && of !== partition
    },
    sourceOf: (subject) => Number.parseInt(subject.slice(nthDot(subject, 3) + 1), 10),
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
          await caughtUp(bus, stream, tables)
        }
      }
      await ensureStream(bus, { ...spec, sources: copied(sources) })
    },
    copies: (bus) =>
      copied(sources).map(({ stream: origin, transforms }, number) => ({
        stream,
        origin,
        subject: transforms[0]!.from,
        copied: () => `in.${processor}.*.${number}.>`,
        keepsLast: true,
        ensure: () => ensureStream(bus, { ...spec, sources: copied(sources) }),
      })),
    async trim(bus, before) {
      const kept = await Promise.all(
        sources.map(async (_source, number) => {
          const subject = `in.${processor}.*.${number}.>`
          return { subject, last: (await lastMessage(bus, stream, subject))?.sequence ?? before }
        }),
      )
      if (kept.every(({ last }) => last >= before)) return purgeBefore(bus, stream, before)
      // The server finds in what it copied how far it has come with a source. Of one whose last message is gone, it would
      // leave out what came while it was away; so that one stays.
      for (const { subject, last } of kept) await purgeBefore(bus, stream, Math.min(before, last), subject)
      if (partitions > 1) await purgeBefore(bus, stream, before, markSubject(processor, '*'))
    },
  }
}

function nthDot(subject: string, n: number): number {
  let at = -1
  for (let i = 0; i < n; i++) at = subject.indexOf('.', at + 1)
  return at
}

/** Waits until a stream has what its sources hold now. @throws MyelinError DEADLINE_EXCEEDED */
async function caughtUp(bus: Bus, stream: string, sources: readonly Source<unknown>[]): Promise<void> {
  let wanted = 0
  for (const source of sources) {
    const info = await streamInfo(bus, source.stream, { subjects: source.subject })
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
