// The names of streams, buckets and consumers, made from what they belong to. No two things get one name: each kind has
// its prefix, several parts are joined by `_`, and a `_` inside of such a part is written `=5F`, as is (by its own code)
// whatever NATS refuses in a name.
import { failure } from './errors.ts'

/** What has streams of its own, and the prefix of their names. */
const prefixes = {
  /** service, event */
  events: 'EVT',
  /** service, job */
  jobs: 'JOB',
  /** service */
  'dead letters': 'DLQ',
  /** service */
  redrive: 'REDRIVE',
  /** service: how often its jobs and events were begun */
  tries: 'TRIES',
  /** view */
  view: 'VIEW',
  /** view, partition */
  'view part': 'VIEWPART',
  /** processor */
  checkpoint: 'CKPT',
  /** processor, partition */
  'checkpoint part': 'CKPTPART',
  /** processor */
  input: 'IN',
  /** processor */
  'error output': 'BAD',
  /** pump: its error output is another thing than that of a processor of the same name */
  'pump error output': 'PBAD',
  /** nothing */
  audit: 'AUDIT',
  /** nothing */
  beats: 'BEATS',
  /** nothing */
  logs: 'LOGS',
  /** a word of its own */
  bucket: 'MYELIN',
} as const

/** What a name belongs to. */
export type NameKind = keyof typeof prefixes

const longest = 255 // bytes; nats-server's JSMaxNameLen
const unfit = /[=.*>/\\\s\p{Cc}]/gu
const unfitOrJoiner = /[_=.*>/\\\s\p{Cc}]/gu

/**
 * The name of a stream or bucket.
 * @throws MyelinError INVALID_OPTION when it is longer than the server allows
 * @example nameOf('events', 'shop', 'sold') // EVT_shop_sold
 * @example nameOf('events', 'shop', 'eu_sold') // EVT_shop_eu=5Fsold
 */
export function nameOf(kind: NameKind, ...parts: readonly (string | number)[]): string {
  // a single part needs no escape for the joiner
  const [only] = parts
  if (parts.length === 1) return checked(`${prefixes[kind]}_${String(only).replace(unfit, byCode)}`)
  return parts.length === 0 ? prefixes[kind] : `${prefixes[kind]}_${joinedName(...parts)}`
}

/** What a stream was called in version 0.1.0, where that is another name. */
export const formerNameOf = (kind: 'view part' | 'checkpoint part', owner: string, part: number) =>
  `${kind === 'view part' ? prefixes.view : prefixes.checkpoint}_${owner}_${part}`

/** Name and owner of a stream, for its spec: `ensureStream` leaves streams of other owners alone. */
export function ownedStream(
  kind: NameKind,
  ...parts: readonly (string | number)[]
): { readonly name: string; readonly owner: string } {
  return { name: nameOf(kind, ...parts), owner: parts.length === 0 ? kind : `${kind} ${parts.join('.')}` }
}

/** Several parts as one name; other parts give another name. @throws MyelinError INVALID_OPTION when it is too long */
export function joinedName(...parts: readonly (string | number)[]): string {
  return checked(parts.map((part) => String(part).replace(unfitOrJoiner, byCode)).join('_'))
}

function checked(name: string): string {
  if (Buffer.byteLength(name) > longest) {
    throw failure(
      'INVALID_OPTION',
      `the name ${name.slice(0, 60)}… is longer than ${longest} bytes; choose a shorter one`,
    )
  }
  return name
}

/** The stream that a key-value bucket lives in. */
export const bucketStream = (bucket: string) => `KV_${bucket}`

/**
 * A name that a user chose for a durable consumer, as it is.
 * @throws MyelinError INVALID_OPTION when NATS does not take it: it would answer nothing at all
 */
export function consumerName(name: string, where: string): string {
  if (typeof name === 'string' && name !== '' && !/[.*>/\\\s\p{Cc}]/u.test(name) && Buffer.byteLength(name) <= longest)
    return name
  throw failure(
    'INVALID_OPTION',
    `${where}: ${JSON.stringify(name) ?? 'nothing'} cannot name a group; it needs text without blanks, dots, slashes, * and >, of at most ${longest} bytes`,
  )
}

/** A name that a user chose for a queue group of a subject. @throws MyelinError INVALID_OPTION */
export function queueName(name: string, where: string): string {
  if (typeof name === 'string' && /^[^\s\p{Cc}]+$/u.test(name)) return name
  throw failure(
    'INVALID_OPTION',
    `${where}: ${JSON.stringify(name) ?? 'nothing'} cannot name a group; it needs text without blanks`,
  )
}

const byCode = (char: string) =>
  [...Buffer.from(char)].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')
