// What a client asks for: which part of a stream, and where to begin.
import type { IncomingHttpHeaders } from 'node:http'
import { failure, parseTime, timeForm } from '../bus/internal.ts'
import type { Selection } from './audience.ts'
import type { Grant } from './auth.ts'
import { type Filter, parseFilter } from './filter.ts'
import type { SseSource } from './source.ts'
import type { Position } from './topic.ts'

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>

const maxKeys = 100
const maxEveryMs = 60_000

/** Filters in use, each parsed once. */
export type Filters = Map<string, Filter>
const maxFilters = 1_000

/** @throws MyelinError INVALID_OPTION, INVALID_FILTER, FORBIDDEN */
export function selectionOf(
  query: Query,
  headers: IncomingHttpHeaders,
  { source, grant, filters, gzip }: { source: SseSource; grant: Grant | undefined; filters: Filters; gzip: boolean },
): Selection {
  const everyMs = wholeNumber(one(query, 'every'), 'every', maxEveryMs) ?? 0
  if (everyMs > 0 && source.policy !== 'coalesce-by-key') {
    throw failure('INVALID_OPTION', 'every: only a view or table can be thinned out; its rows replace each other')
  }
  const keys = keysOf(query, grant)
  const filter = all(query, 'filter').join(',')
  const packed = gzip && acceptsGzip(headers['accept-encoding'])
  return {
    id: JSON.stringify([keys ?? null, filter, everyMs, packed]),
    keys,
    filter: filter === '' ? undefined : filterOf(filters, filter),
    everyMs,
    gzip: packed,
  }
}

/** Where to begin; `Last-Event-ID` wins over `from`, for browsers that come back. @throws MyelinError INVALID_OPTION */
export function positionOf(query: Query, headers: IncomingHttpHeaders, source: SseSource): Position | undefined {
  const header = headers['last-event-id']
  const id = typeof header === 'string' && header !== '' ? header : one(query, 'lastEventId')
  const from = one(query, 'from')
  if (from !== undefined && !source.stream) {
    throw failure('INVALID_OPTION', 'from: the events of this stream are not kept, so there is no past to replay')
  }
  // an error would end a browser's EventSource for good, and the id may be of whoever served this address before
  if (id !== undefined && source.stream) return isSequence(id) ? { after: Number(id) } : 'foreign'
  if (from === undefined) return undefined
  const timeMs = parseTime(/^\d{5,}$/.test(from) ? Number(from) : from)
  if (timeMs === undefined) {
    throw failure(
      'INVALID_OPTION',
      `from: expected ${timeForm} (a + in a URL is %2B), got ${JSON.stringify(from.slice(0, 100))}`,
    )
  }
  return { timeMs }
}

const isSequence = (id: string) => /^\d+$/.test(id) && Number(id) < Number.MAX_SAFE_INTEGER

function keysOf(query: Query, grant: Grant | undefined): readonly string[] | undefined {
  const asked = [...new Set(all(query, 'key'))].sort()
  if (asked.length > maxKeys) throw failure('INVALID_OPTION', `key: at most ${maxKeys} may be given`)
  const allowed = grant?.keys
  if (!allowed) return asked.length > 0 ? asked : undefined
  const forbidden = asked.find((key) => !allowed.includes(key))
  if (forbidden !== undefined) throw failure('FORBIDDEN', `the token does not allow key ${JSON.stringify(forbidden)}`)
  return asked.length > 0 ? asked : [...allowed].sort()
}

function filterOf(filters: Filters, text: string): Filter {
  const found = filters.get(text)
  if (found) return found
  const filter = parseFilter(text)
  if (filters.size >= maxFilters) filters.delete(filters.keys().next().value!)
  filters.set(text, filter)
  return filter
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  return String(header ?? '')
    .split(',')
    .some((entry) => {
      const [coding, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
      return coding === 'gzip' && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))
    })
}

function all(query: Query, name: string): readonly string[] {
  const given = query[name]
  return (typeof given === 'string' ? [given] : (given ?? [])).filter((text) => text !== '')
}

const one = (query: Query, name: string): string | undefined => all(query, name)[0]

function wholeNumber(text: string | undefined, what: string, to: number): number | undefined {
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > to) {
    throw failure(
      'INVALID_OPTION',
      `${what}: expected a whole number from 0 to ${to}, got ${JSON.stringify(text.slice(0, 100))}`,
    )
  }
  return value
}
