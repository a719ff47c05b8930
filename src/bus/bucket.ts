// A key-value bucket (ADR-8): the latest value of each key, compare-and-set, and a watch that says when it has told what
// there was. What the server copied into it from somewhere else is nobody's word: who may create streams could write
// into a bucket that they may not write themselves.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { BucketWatch } from './bucket-watch.ts'
import type { Bus } from './bus.ts'
import { now } from './clock.ts'
import { failure, MyelinError } from './errors.ts'
import { header, headerLine } from './headers.ts'
import { type Persisted, persist } from './jetstream/publish.ts'
import { latestMessage } from './jetstream/stored.ts'
import { ensureStream, streamInfo } from './jetstream/streams.ts'
import { bucketStream } from './names.ts'

/** How a bucket keeps its values; what is left out stays as it is where the bucket exists. */
export interface BucketOptions<Value> {
  /** Values kept of each key. Default 1. */
  readonly history?: number
  /** Values are forgotten after this long. Default: never. */
  readonly ttlMs?: number
  /** Copies in a cluster. Default: the connection's `replicas`, else three where the servers can. */
  readonly replicas?: number
  readonly description?: string
  /** What values must be; one that does not fit counts as none. Without it they are whatever JSON says. */
  readonly schema?: StandardSchemaV1<unknown, Value>
  /**
   * A bucket that others feed from streams, or that passes its entries on, is fine. Default: it is refused, and entries
   * that came out of another stream count as none.
   */
  readonly copies?: boolean
}

/** What a bucket holds of a key. */
export interface BucketEntry<Value> {
  readonly key: string
  /** Undefined: there is none, it was deleted, or it cannot be used (see `refused`). */
  readonly value: Value | undefined
  /** What the next conditional write has to name; 0 when nothing was ever written. */
  readonly revision: number
  /** When the server stored it, unix ms. */
  readonly timestampMs: number
  /** Why what lies there counts as no value. */
  readonly refused?: MyelinError
}

export interface WriteOptions {
  /** How long the server may take, through changes of leader and lost connections. Default 5,000 ms. */
  readonly timeoutMs?: number
}

/** A message of the bucket's stream, however it was read. */
export interface RawEntry {
  readonly subject: string
  readonly data: Uint8Array
  readonly sequence: number
  readonly timestampMs: number
  /** From a direct get, where the server names the bucket's own stream in the header of republished messages. */
  readonly direct?: boolean
  header(name: string): string | readonly string[]
}

const defaultTimeoutMs = 5_000
/** What the server puts into a message that it took from somewhere: sources and mirrors, republishing, schedules. */
const copyMarks = ['Nats-Stream-Source', 'Nats-Stream', 'Nats-Scheduler']

/** A key-value bucket of JSON values, checked by a schema; made by {@link bucket}. */
export class Bucket<Value = unknown> {
  readonly name: string
  /** The stream behind it. */
  readonly stream: string
  readonly #bus: Bus
  readonly #options: BucketOptions<Value>
  /** The latest revision that was reported as unusable. */
  #reported = 0

  /** Use {@link bucket}. */
  constructor(bus: Bus, name: string, options: BucketOptions<Value>) {
    this.name = name
    this.stream = bucketStream(name)
    this.#bus = bus
    this.#options = options
  }

  /**
   * Makes the bucket when it is missing, and looks whether it may be trusted.
   * @throws MyelinError STREAM_MISMATCH, JETSTREAM_DISABLED
   */
  async ensure(): Promise<void> {
    const { history = 1, ttlMs, replicas, description } = this.#options
    await ensureStream(this.#bus, {
      name: this.stream,
      subjects: [this.#subject('>')],
      maxMessagesPerSubject: history,
      rollups: true,
      asItIs: true,
      ...(ttlMs === undefined ? {} : { maxAgeMs: ttlMs }),
      ...(description === undefined ? {} : { description }),
      ...(replicas === undefined ? {} : { replicas }),
    })
    if (!this.#options.copies) await this.check()
  }

  /** @internal Whether nothing but writers to the bucket itself can write there. @throws MyelinError STREAM_MISMATCH */
  async check(): Promise<void> {
    const config = (await streamInfo(this.#bus, this.stream))?.config
    if (!config || this.#options.copies) return
    const found = [
      (config.sources?.length ?? 0) > 0 && 'it copies from other streams (sources)',
      config.mirror !== undefined && 'it is the mirror of another stream',
      config.republish !== undefined && 'it passes its entries on (republish)',
      config.subject_transform !== undefined && 'it changes subjects (subject_transform)',
      config.allow_msg_schedules === true && 'it publishes by schedules',
      config.subjects?.some((subject) => subject !== this.#subject('>')) && 'it takes other subjects as well',
    ].filter((problem) => typeof problem === 'string')
    if (found.length > 0) {
      throw failure(
        'STREAM_MISMATCH',
        `bucket ${this.name} was not made by Myelin and is not trusted: ${found.join('; ')}. Find out who made stream ${this.stream}, and remove it`,
      )
    }
  }

  /** What is known of a key; asks the stream's leader, so that it is the latest. @throws MyelinError INVALID_INPUT, … */
  async get(key: string, { timeoutMs = defaultTimeoutMs }: WriteOptions = {}): Promise<BucketEntry<Value>> {
    const last = await this.#last(this.#subject(checkedKey(key)), timeoutMs)
    return last ? this.read(last) : { key, value: undefined, revision: 0, timestampMs: 0 }
  }

  /** The last message of a subject. */
  async #last(subject: string, timeoutMs: number): Promise<RawEntry | undefined> {
    const where = `bucket ${this.name}`
    const latest = await latestMessage(this.#bus, this.stream, subject, { timeoutMs, where })
    if (!latest) return undefined
    const { message: found, direct } = latest
    return {
      subject: found.subject,
      data: found.data,
      sequence: found.seq,
      timestampMs: found.time.getTime(),
      direct,
      header: (name) => found.header?.values(name) ?? [],
    }
  }

  /** Writes a value, whatever is there. Resolves with its revision. @throws MyelinError STREAM_FULL, DEADLINE_EXCEEDED, … */
  async put(key: string, value: Value, options?: WriteOptions): Promise<number> {
    return (await this.#write(key, JSON.stringify(value), '', options)).sequence
  }

  /** As `put`; the same id again within the bucket's deduplication window (two minutes) writes nothing. */
  putOnce(key: string, value: Value, id: string, options?: WriteOptions): Promise<Persisted> {
    return this.#write(key, JSON.stringify(value), '', options, id)
  }

  /** Writes a value of a key that has none. @throws MyelinError WRONG_SEQUENCE when it has, … */
  async create(key: string, value: Value, options?: WriteOptions): Promise<number> {
    const there = await this.get(key, options)
    if (there.value !== undefined) throw failure('WRONG_SEQUENCE', `bucket ${this.name} has a value of "${key}"`)
    return this.update(key, value, there.revision, options)
  }

  /** Writes a value when the key's revision is still the given one (0: never written). @throws MyelinError WRONG_SEQUENCE, … */
  async update(key: string, value: Value, revision: number, options?: WriteOptions): Promise<number> {
    return (await this.#write(key, JSON.stringify(value), expected(revision), options)).sequence
  }

  /** Removes a key and its history; with `revision` only when that is still its revision. @throws MyelinError WRONG_SEQUENCE, … */
  async delete(key: string, { revision, ...options }: WriteOptions & { revision?: number } = {}): Promise<void> {
    const lines = `KV-Operation:PURGE\r\nNats-Rollup:sub\r\n${revision === undefined ? '' : expected(revision)}`
    await this.#write(key, '', lines, options)
  }

  /**
   * Keys that have a value, or had one; without a consumer, so that it may be asked every second.
   * `filter`: a subject filter over keys, like `orders.>`.
   */
  async keys(filter = '>'): Promise<string[]> {
    const from = this.#subject('').length
    const info = await streamInfo(this.#bus, this.stream, { subjects: this.#subject(filter) })
    return Object.keys(info?.state.subjects ?? {}).map((subject) => subject.slice(from))
  }

  /** All that have a value. */
  async entries(filter = '>'): Promise<(BucketEntry<Value> & { readonly value: Value })[]> {
    const all = await Promise.all((await this.keys(filter)).map((key) => this.get(key)))
    return all.filter((entry): entry is BucketEntry<Value> & { readonly value: Value } => entry.value !== undefined)
  }

  /**
   * Calls for what there is, then for every change, in the bucket's order; a key that is gone has no value. Resolves when
   * what there is has been told. It goes on through lost connections and restarts; when the bucket was removed, it is made
   * again, and every key that is not there any more is told as gone, with revision 0.
   * @throws MyelinError STREAM_MISMATCH, JETSTREAM_DISABLED, CLOSED
   */
  async watch(
    onEntry: (entry: BucketEntry<Value>) => void,
    { filter = '>', onError }: { filter?: string; onError?: (error: MyelinError) => void } = {},
  ): Promise<{ stop(): Promise<void> }> {
    const report = onError ?? ((error) => this.#bus.report(error, `the watch over bucket ${this.name}`))
    const watch = new BucketWatch(this.#bus, this, this.#subject(filter), onEntry, report)
    await watch.open()
    return watch
  }

  /** @internal what a message of the stream says of its key */
  read(raw: RawEntry): BucketEntry<Value> {
    const key = raw.subject.slice(this.#subject('').length)
    const entry = { key, revision: raw.sequence, timestampMs: raw.timestampMs }
    if (raw.header('KV-Operation').length > 0 || raw.header('Nats-Marker-Reason').length > 0) {
      return { ...entry, value: undefined }
    }
    try {
      if (!this.#options.copies) this.#refuseCopy(key, raw)
      return { ...entry, value: this.#decode(key, raw.data) }
    } catch (error) {
      const refused = error as MyelinError
      if (raw.sequence > this.#reported) {
        this.#reported = raw.sequence
        this.#bus.report(refused, `bucket ${this.name}`)
      }
      return { ...entry, value: undefined, refused }
    }
  }

  #refuseCopy(key: string, raw: RawEntry): void {
    for (const mark of copyMarks) {
      const from = [raw.header(mark)].flat().find((source) => !raw.direct || source !== this.stream)
      if (from === undefined) continue
      throw failure(
        'FORBIDDEN',
        `bucket ${this.name}: "${key}" came out of another stream and is ignored (${mark}: ${from})`,
      )
    }
  }

  #decode(key: string, data: Uint8Array): Value {
    const where = `bucket ${this.name}: the value of "${key}"`
    let value: unknown
    try {
      value = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
    } catch (cause) {
      throw failure('MALFORMED_PAYLOAD', `${where} is no JSON`, { cause })
    }
    const checked = this.#options.schema?.['~standard'].validate(value)
    if (checked === undefined) return value as Value
    if (checked instanceof Promise) throw failure('INVALID_OPTION', `bucket ${this.name} needs a synchronous schema`)
    if (!checked.issues) return checked.value
    throw failure('INVALID_INPUT', `${where} does not fit: ${checked.issues.slice(0, 3).map(issueText).join('; ')}`)
  }

  async #write(
    key: string,
    text: string,
    lines: string,
    { timeoutMs = defaultTimeoutMs }: WriteOptions = {},
    id: string = crypto.randomUUID(),
  ): Promise<Persisted> {
    const subject = this.#subject(checkedKey(key))
    // the id lets the same write be sent again when its acknowledgement was lost: also one that names a revision
    const headerLines = `${headerLine(header.messageId, id)}${lines}`
    const deadline = now() + timeoutMs
    const send = () => persist(this.#bus, subject, Buffer.from(text), { deadline, headerLines, deduplicated: true })
    try {
      return await send()
    } catch (error) {
      const code = error instanceof MyelinError ? error.code : ''
      if (code === 'STREAM_NOT_FOUND') {
        await this.ensure() // somebody removed it
        return send()
      }
      if (code !== 'WRONG_SEQUENCE') throw error
      // the server looks at the revision before it looks at the id: it may be this very write, sent again
      const last = await this.#last(subject, timeoutMs)
      if (!last || ![last.header(header.messageId)].flat().includes(id)) throw error
      return { stream: this.stream, sequence: last.sequence, duplicate: false }
    }
  }

  #subject(key: string): string {
    return `$KV.${this.name}.${key}`
  }
}

const expected = (revision: number) => `Nats-Expected-Last-Subject-Sequence:${revision}\r\n`

const issueText = ({ path, message }: StandardSchemaV1.Issue) =>
  [(path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.'), message]
    .filter(Boolean)
    .join(': ')

/** A server takes lines of 4,096 bytes at most, and a key is part of one. */
const longestKey = 1_024

/** A key is part of a subject: what ends one there is refused. */
function checkedKey(key: string): string {
  if (Buffer.byteLength(key) > longestKey) {
    throw failure('INVALID_INPUT', `"${key.slice(0, 100)}…" cannot be a key: it has more than ${longestKey} bytes`)
  }
  if (key !== '' && !/^\.|\.$|\.\.|[\s*>\p{Cc}\p{Cs}]/u.test(key)) return key
  throw failure(
    'INVALID_INPUT',
    `"${key.slice(0, 100)}" cannot be a key: no blanks, no * or >, no dot at its ends, none after another`,
  )
}

/**
 * Opens a key-value bucket; makes it when it is missing.
 * @throws MyelinError STREAM_MISMATCH (fed by other streams, so that its entries cannot be trusted), JETSTREAM_DISABLED,
 *   INVALID_OPTION
 *
 * @example
 * const gates = await bucket<{ open: boolean }>(bus, 'GATES')
 * const { value, revision } = await gates.get('ATL.7')
 * await gates.update('ATL.7', { open: true }, revision)
 */
export async function bucket<Value = unknown>(
  bus: Bus,
  name: string,
  options: BucketOptions<Value> = {},
): Promise<Bucket<Value>> {
  if (!/^[-\w]+$/.test(name))
    throw failure('INVALID_OPTION', `"${name}" cannot be a bucket's name: letters, digits, - and _ only`)
  const opened = new Bucket(bus, name, options)
  await opened.ensure()
  return opened
}
