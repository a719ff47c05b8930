// Who did what, when, and what came of it; kept in a stream that only grows.
import {
  type Bus,
  boundedText,
  header,
  headerLine,
  keepBelow,
  nameOf,
  now,
  ownedStream,
  persistIn,
  readSpan,
  redact,
  sequenceAt,
  streamInfo,
} from '../bus/internal.ts'
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

const spec = {
  ...ownedStream('audit'),
  subjects: ['audit.>'],
  description: 'who commanded what, and what came of it',
  maxAgeMs: 365 * 86_400_000,
  maxMessages: 1_000_000,
  discard: 'old',
} as const
const keptBytes = 1024 ** 3

/** For what the server adds. */
const headroomBytes = 1_024

/** Writes a record, without secrets. One that would not fit into a message leaves out its arguments, then its results. */
export async function record(bus: Bus, entry: AuditEntry): Promise<void> {
  const clean = redact(entry) as AuditEntry
  const { note = '' } = clean
  const short = { ...clean, args: {}, note: boundedText(`${note} (arguments too large to keep)`, 2_000) }
  const texts = [clean, short, { ...short, results: [] }].map((one) => JSON.stringify(one))
  const text = texts.find((one) => Buffer.byteLength(one) <= bus.maxPayloadBytes - headroomBytes) ?? texts[2]!
  await persistIn(bus, spec, `audit.control.${entry.verb}`, Buffer.from(text), {
    deadline: now() + 10_000,
    headerLines: headerLine(header.messageId, crypto.randomUUID()),
    deduplicated: true,
  })
  await keepBelow(bus, auditStream, keptBytes)
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
