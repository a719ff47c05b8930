// A durable event's only writer: batches instead of one acknowledgement for each event, exactly once and in order.
import {
  type Bus,
  ensureOnce,
  failure,
  type MyelinError,
  type Position,
  positionOf,
  type StreamWriter,
  streamWriter,
} from '../bus/internal.ts'
import { type Contract, type EventDefinition, endOfInput, type InputOf, parse } from '../contract/internal.ts'
import type { EncodedEvent, PublishOptions } from './encoded-event.ts'
import { eventStreamSpec } from './streams.ts'

export interface EventWriterOptions {
  /** False: payloads are known to fit their schema, and are not looked at. Default true. */
  readonly validate?: boolean
  /** Events in a batch, 1 to 1,000. Default 1,000. */
  readonly batchSize?: number
  /** It waits: for a full stream, say, or a server that is away. */
  readonly onWait?: (reason: MyelinError) => void
}

/**
 * Writes an event's stream as its only writer; got from `writer()` of a client's event.
 *
 * Promise: exactly once and in order, also when the connection or the server breaks off. It is refused
 * (`WRONG_SEQUENCE`) once somebody else wrote to the stream: open another then, which goes on after that.
 */
export interface EventWriter<Payload> extends AsyncDisposable {
  /** Where the last event that was written is, or will be; of an empty stream its beginning. */
  readonly position: Position
  /** Where the last event is that is known to be stored. */
  readonly stored: Position
  /**
   * Writes an event. It leaves with its batch, or at `send()` and `flush()`. A promise is given back when there is no more
   * room: await it before writing more.
   * @throws MyelinError INVALID_INPUT, INVALID_OPTION, PAYLOAD_TOO_LARGE: this event alone is left out; WRONG_SEQUENCE,
   *   STREAM_NOT_FOUND, CLOSED
   */
  write(payload: Payload, options?: Pick<PublishOptions, 'id' | 'time' | 'trace'>): Promise<void> | undefined
  /** Lets out what was written without waiting for its batch to fill. */
  send(): void
  /** Resolves when everything written is stored. @throws MyelinError WRONG_SEQUENCE, STREAM_NOT_FOUND, CLOSED */
  flush(): Promise<void>
  /** Says that no event follows, and resolves when that is stored: processors close their last windows. */
  end(): Promise<void>
  /** Flushes; nothing may be written any more. */
  close(): Promise<void>
}

/** @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, INVALID_OPTION */
export async function eventWriter(
  bus: Bus,
  contract: Contract,
  name: string,
  event: EventDefinition,
  encode: Encode,
  options: EventWriterOptions,
): Promise<EventWriter<InputOf<EventDefinition['payload']>>> {
  const spec = eventStreamSpec(contract, name)
  await ensureOnce(bus, spec)
  const writer = await streamWriter(bus, spec.name, {
    ...(options.batchSize === undefined ? {} : { batchSize: options.batchSize }),
    ...(options.onWait ? { onWait: options.onWait } : {}),
  })
  const where = `event ${contract.name}.${name}`
  const check = (value: unknown) => parse(event.payload, value, 'INVALID_INPUT', where)
  return new Writer(where, writer, encode, options.validate === false ? undefined : check, endOfInput(contract, name))
}

type Encode = (payload: unknown, options?: PublishOptions) => EncodedEvent
/** @throws MyelinError INVALID_INPUT */
type Check = (payload: unknown) => unknown

class Writer implements EventWriter<unknown> {
  readonly #writer: StreamWriter
  readonly #encode: Encode
  readonly #check: Check | undefined
  readonly #end: EncodedEvent
  /** Checks of payloads that take their time: events keep the order in which they were written. */
  #before: Promise<unknown> | undefined
  readonly #where: string
  #closed = false

  constructor(where: string, writer: StreamWriter, encode: Encode, check: Check | undefined, end: EncodedEvent) {
    this.#where = where
    this.#writer = writer
    this.#encode = encode
    this.#check = check
    this.#end = end
  }

  get position(): Position {
    return positionOf(this.#writer.end)
  }
  get stored(): Position {
    return positionOf(this.#writer.acknowledged)
  }

  write(payload: unknown, options?: PublishOptions): Promise<void> | undefined {
    if (this.#closed) throw failure('CLOSED', `the writer of ${this.#where} is closed`)
    const checked = this.#check?.(payload)
    const add = () => this.#add(this.#encode(payload, options))
    if (!(checked instanceof Promise) && !this.#before) return add()
    const before = this.#before
    const added = Promise.resolve(checked).then(async () => {
      await before
      await add()
    })
    const settled = Promise.allSettled([before, added]) // also one that is refused waits for those before it
    this.#before = settled
    void settled.then(() => {
      if (this.#before === settled) this.#before = undefined
    })
    return added
  }

  #add({ subject, data, headerLines }: EncodedEvent): Promise<void> | undefined {
    this.#writer.add(subject, data, headerLines)
    return this.#writer.ready()
  }

  send(): void {
    this.#writer.send()
  }
  async flush(): Promise<void> {
    await this.#before
    await this.#writer.flush()
  }
  async end(): Promise<void> {
    if (this.#closed) throw failure('CLOSED', `the writer of ${this.#where} is closed`)
    await this.#before
    await this.#add(this.#end)
    await this.flush()
  }
  close(): Promise<void> {
    this.#closed = true
    return this.flush()
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
