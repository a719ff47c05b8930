// Who did what, when, and what came of it; kept in a stream that only grows.
import {
  type Bus,
  boundedText,
  ensureStream,
  nameOf,
  now,
  ownedStream,
  readSpan,
  redact,
  sequenceAt,
  store,
  streamInfo,
} from '../bus/index.ts'
import type { Ack, CommandArgs, Verb } from './command.ts'

export const auditStream = nameOf('audit')

/** One command in the record. */
export interface AuditEntry {
  readonly id: string
  readonly at: string
  readonly by: string
  readonly verb: Verb | 'rollout'
  readonly selector: Readonly<Record<string, string | undefined>>
  readonly args: CommandArgs
  /** `issued`: it was sent; `done`: every instance obeyed; `failed`: not all did. */
  readonly outcome: 'issued' | 'done' | 'failed'
  readonly results: readonly Pick<Ack, 'site' | 'unit' | 'instance' | 'ok' | 'from' | 'to' | 'error'>[]
  readonly tookMs?: number
  readonly note?: string
}

const ready = new WeakMap<Bus, Promise<void>>()

/** Makes sure, once per connection, that the record can be written. */
async function ensureAudit(bus: Bus): Promise<void> {
  const known = ready.get(bus)
  if (known) return known
  const made = ensureStream(bus, {
    ...ownedStream('audit'),
    subjects: ['audit.>'],
    description: 'who commanded what, and what came of it',
    maxAgeMs: 365 * 86_400_000,
    maxBytes: 1024 ** 3,
    discard: 'old',
  })
  ready.set(bus, made)
  made.catch(() => ready.delete(bus))
  return made
}

/** For what the server adds. */
const headroomBytes = 1_024

/** Writes a record, without secrets. One that would not fit into a message leaves out its arguments, then its results. */
export async function record(bus: Bus, entry: AuditEntry): Promise<void> {
  await ensureAudit(bus)
  const clean = redact(entry) as AuditEntry
  const { note = '' } = clean
  const short = { ...clean, args: {}, note: boundedText(`${note} (arguments too large to keep)`, 2_000) }
  const texts = [clean, short, { ...short, results: [] }].map((one) => JSON.stringify(one))
  const text = texts.find((one) => Buffer.byteLength(one) <= bus.maxPayloadBytes - headroomBytes) ?? texts[2]!
  await store(bus, `audit.control.${entry.verb}`, Buffer.from(text), { deadline: now() + 10_000 })
}

/** The latest records, oldest first. */
export async function audit(bus: Bus, options: { limit?: number; sinceMs?: number } = {}): Promise<AuditEntry[]> {
  const limit = options.limit ?? 100
  const info = await streamInfo(bus, auditStream)
  if (!info || info.state.messages === 0) return []
  const { first_seq, last_seq } = info.state
  const from =
    options.sinceMs === undefined
      ? Math.max(first_seq, last_seq - limit + 1)
      : await sequenceAt(bus, auditStream, options.sinceMs)
  const found: AuditEntry[] = []
  for await (const { data } of readSpan(bus, auditStream, { from })) {
    try {
      found.push(JSON.parse(Buffer.from(data).toString()) as AuditEntry)
    } catch {
      // not one of ours
    }
  }
  return found.slice(-limit)
}
