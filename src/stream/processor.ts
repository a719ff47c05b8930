// processor(): a program over a durable event becomes a unit. It reads its input in order, keeps its state in memory, and
// stores state, input position and output position together; after a crash the next instance reads the inputs since
// then again, makes the same rows again, and leaves out those the view already has.
//
// Promise: effectively once. Every input counts exactly once in the view, whatever dies when; side effects (`to`) happen
// at least once. What makes it hold: a program is a pure function of the input's messages in their order; the view has
// one writer, and rows carry no identity but their place.
import {
  type Bus,
  codecFor,
  failure,
  header,
  MyelinError,
  messageOf,
  readStream,
  type StreamMessage,
  type StreamReader,
  type StreamWriter,
  streamInfo,
  streamWriter,
} from '../bus/index.ts'
import { parse, subjectToken } from '../contract/index.ts'
import type { RunningUnit, Unit, UnitHost, Vitals } from '../unit/index.ts'
import { type Rows, Stream } from './builder.ts'
import { type Checkpoint, Checkpoints } from './checkpoint.ts'
import { Circuit, type Push } from './circuit.ts'
import type { Source } from './contracts.ts'
import { type EffectPlan, Effects } from './effects.ts'
import { isEndOfInput } from './end-of-input.ts'
import { ensureView, type View, viewSubject } from './view.ts'

export interface ProcessorOptions<T, Row, Key extends string> {
  /** What it reads: a durable event, {@link event}. */
  readonly from: Source<T>
  /** Where its rows go. */
  readonly to: View<Row, Key>
  readonly description?: string
  /** How often state and positions are stored; what a restart has to read again. Default 1,000 ms. */
  readonly checkpointMs?: number
  /** Input messages here and not yet processed; the bound of its memory. Default 5,000. */
  readonly maxPending?: number
}

/**
 * Defines a stream processor: a feed in, a view out.
 *
 * @example
 * export default processor('delays', { from: event(flights, 'departed'), to: view('delays', { key: 'origin' }) }, (departed) =>
 *   departed
 *     .time((f) => f.date, { outOfOrder: '10m' })
 *     .keyBy((f) => f.origin)
 *     .window(tumbling('1h'), { lateness: '1h' })
 *     .aggregate({ flights: count(), mean: mean((f) => f.delay), p95: quantile(0.95, (f) => f.delay) }))
 *
 * @throws MyelinError INVALID_OPTION
 */
export function processor<T, Row, Key extends string>(
  name: string,
  options: ProcessorOptions<T, Row, Key>,
  // a view's row is the program's row and its key
  program: (input: Stream<T>) => Rows<Omit<Row, Key>>,
): Unit<unknown> {
  subjectToken(name, 'processor name')
  const plan: { effects: EffectPlan[] } = { effects: [] }
  const rows = program(new Stream<T>(plan, (_circuit, next) => next as Push<unknown>))
  return {
    kind: 'processor',
    name,
    ...(options.description ? { description: options.description } : {}),
    start: async (host) => {
      const running = new Processor(name, options as ProcessorOptions<unknown, unknown, string>, host)
      try {
        await running.start(rows.wire, plan.effects)
      } catch (error) {
        await running.drain()
        throw error
      }
      return running
    },
  }
}

const flushAfterMs = 20
const drainMs = 5_000

class Processor implements RunningUnit {
  readonly #name: string
  readonly #options: ProcessorOptions<unknown, unknown, string>
  readonly #host: UnitHost
  readonly #bus: Bus
  readonly #finished = Promise.withResolvers<void>()
  readonly #backlog: StreamMessage[] = []
  readonly #rowKey: string
  #circuit!: Circuit
  #push!: Push<unknown>
  #effects!: Effects
  #writer: StreamWriter | undefined
  #checkpoints!: Checkpoints
  #reader: StreamReader | undefined
  #created = { input: '', view: '' }
  #input = 0
  #output = 0
  /** Rows the view already has from before the crash. */
  #skip = 0
  #read = 0
  /** Messages the server had not delivered yet, as it said with the last one. */
  #lag = 0
  #replayed = 0
  #bad = 0
  #ended = false
  #busy = false
  #savedInput = -1
  #stopping: Promise<void> | undefined
  #failed = false
  #checkpointTimer: NodeJS.Timeout | undefined
  #flushTimer: NodeJS.Timeout | undefined
  #checkpointDue = false

  constructor(name: string, options: ProcessorOptions<unknown, unknown, string>, host: UnitHost) {
    this.#name = name
    this.#options = options
    this.#host = host
    this.#bus = host.bus
    this.#rowKey = options.to.key
    this.#finished.promise.catch(() => undefined) // the host may not look
  }

  get done(): Promise<void> {
    return this.#finished.promise
  }

  vitals(): Vitals {
    return { handled: this.#read, errors: this.#bad, lag: this.#lag + this.#backlog.length }
  }

  stats(): Record<string, number> {
    return {
      in: this.#read,
      out: this.#output,
      late: this.#circuit?.late ?? 0,
      bad: this.#bad,
      effects: this.#effects?.done ?? 0,
      effectDuplicates: this.#effects?.duplicates ?? 0,
      replayed: this.#replayed,
      position: this.#input,
      open: this.#circuit?.open ?? 0,
      ended: this.#ended ? 1 : 0,
    }
  }

  async start(wire: (circuit: Circuit) => Push<unknown>, effects: readonly EffectPlan[]): Promise<void> {
    const { from, to } = this.#options
    await from.ensure(this.#bus)
    await ensureView(this.#bus, to)
    this.#effects = new Effects(effects, { bus: this.#bus, log: this.#host.log }, (error) => this.#poison(error))
    this.#circuit = new Circuit((effect, value) => this.#effects.start(effect, value))
    this.#push = wire(this.#circuit)

    const { checkpoints, latest } = await Checkpoints.open(this.#bus, this.#name, this.#host.log)
    this.#checkpoints = checkpoints
    const input = (await streamInfo(this.#bus, from.stream))!
    const view = (await streamInfo(this.#bus, to.spec.name))!
    this.#created = { input: input.created, view: view.created }
    if (latest) this.#restore(latest, view.state.last_seq)
    else if (view.state.last_seq > 0) {
      throw failure(
        'STREAM_MISMATCH',
        `processor '${this.#name}': view ${to.spec.name} has rows, but there is no checkpoint that says of which inputs; ` +
          `remove the stream ${to.spec.name} to begin again`,
      )
    }
    this.#writer = await streamWriter(this.#bus, to.spec.name, {
      lastSequence: view.state.last_seq,
      onWait: (reason) => this.#host.log.warn({ code: reason.code }, `view ${to.name} waits: ${reason.message}`),
    })
    // a checkpoint before the first row: a view with rows then always has one
    if (!latest) await this.#save()
    if (this.#ended) this.#finished.resolve()
    this.#reader = await readStream(this.#bus, {
      stream: from.stream,
      from: { sequence: this.#input + 1 },
      maxPending: this.#options.maxPending ?? 5_000,
      onMessage: (message) => this.#receive(message),
      onError: (error) => this.#host.log.warn({ code: error.code }, `reading ${from.stream}: ${error.message}`),
    })
    this.#checkpointTimer = setInterval(() => {
      this.#checkpointDue = true
      if (!this.#busy && this.#backlog.length === 0) void this.#work()
    }, this.#options.checkpointMs ?? 1_000)
  }

  #restore(latest: Checkpoint, viewEnd: number): void {
    const where = `processor '${this.#name}'`
    const begin = `to begin again, remove the streams CKPT_${this.#name} and ${this.#options.to.spec.name}`
    if (latest.inputCreated !== this.#created.input || latest.viewCreated !== this.#created.view) {
      throw failure(
        'STREAM_MISMATCH',
        `${where}: its input or its view was made anew since its last checkpoint; ${begin}`,
      )
    }
    if (latest.shape !== this.#circuit.shape) {
      throw failure(
        'STREAM_MISMATCH',
        `${where}: the program changed since its last checkpoint (then: ${latest.shape}; now: ${this.#circuit.shape}); ${begin}, or give it another name`,
      )
    }
    if (viewEnd < latest.output) {
      throw failure(
        'STREAM_MISMATCH',
        `${where}: the view ends at ${viewEnd}, its checkpoint at ${latest.output}; ${begin}`,
      )
    }
    this.#circuit.restore(latest.state)
    this.#input = latest.input
    this.#output = latest.output
    this.#skip = viewEnd - latest.output
    this.#bad = latest.bad
    this.#ended = latest.ended
    this.#savedInput = latest.input
    this.#host.log.info({ input: latest.input, output: latest.output, repeat: this.#skip }, `${where} goes on`)
  }

  #receive(message: StreamMessage): void {
    if (this.#busy || this.#backlog.length > 0) {
      this.#backlog.push(message)
      return
    }
    try {
      if (!this.#process(message)) void this.#work()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Hot path: one message, start to end, without a promise; false when the loop must wait for something. */
  #process(message: StreamMessage): boolean {
    this.#reader?.release()
    if (this.#failed) return true
    try {
      if (message.data.length === 0 && isEndOfInput(message)) {
        this.#ended = true
        this.#checkpointDue = true
        this.#circuit.advance(Number.POSITIVE_INFINITY)
      } else {
        this.#ended = false
        const codec = codecFor(message.headers.get(header.contentType))
        const value = parse(this.#options.from.schema, codec.decode(message.data), 'INVALID_INPUT', 'payload')
        if (value instanceof Promise) throw failure('INVALID_CONTRACT', 'a processor needs a synchronous schema')
        this.#push(value, message.timestampMs)
      }
    } catch (error) {
      this.#poison(error, message)
    }
    this.#read += 1
    this.#input = message.sequence
    this.#lag = message.pending
    if (this.#circuit.rows.length > 0) this.#emit()
    return !this.#checkpointDue && this.#writer!.hasRoom && !this.#effects.ready()
  }

  #poison(error: unknown, message?: StreamMessage): void {
    this.#bad += 1
    if (this.#bad > 10 && this.#bad % 10_000 !== 0) return
    const code = error instanceof MyelinError ? error.code : 'INTERNAL'
    this.#host.log.warn(
      { code, sequence: message?.sequence, bad: this.#bad },
      `an input of ${this.#options.from.stream} cannot be used and is left out: ${messageOf(error)}`,
    )
  }

  #emit(): void {
    const { rows } = this.#circuit
    this.#circuit.rows = []
    for (const { key, value } of rows) {
      this.#output += 1
      if (this.#skip > 0) {
        this.#skip -= 1
        this.#replayed += 1
        continue
      }
      const row = { [this.#rowKey]: key, ...value }
      this.#writer!.add(viewSubject(this.#options.to.name, key), Buffer.from(JSON.stringify(row)))
    }
    // rows of a quiet input must not wait for a full batch
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined
      this.#writer?.send()
      // a writer that failed meanwhile is noticed even if no input comes any more
      if (!this.#writer?.hasRoom && !this.#busy) void this.#work()
    }, flushAfterMs)
  }

  /** Waits for what a message made necessary, then works off what arrived meanwhile. */
  async #work(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    try {
      for (;;) {
        const room = this.#writer!.ready() ?? this.#effects.ready()
        if (room) await room
        if (this.#checkpointDue) {
          this.#checkpointDue = false
          if (this.#input !== this.#savedInput) await this.#save()
          if (this.#ended) this.#finished.resolve()
        }
        let taken = 0
        while (taken < this.#backlog.length && this.#process(this.#backlog[taken++]!));
        this.#backlog.splice(0, taken)
        if (this.#backlog.length === 0 && !this.#checkpointDue) break
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#busy = false
    }
  }

  /** Rows stored and effects done first, then the checkpoint: it never claims more than there is. */
  async #save(): Promise<void> {
    // nothing is processed while this is under way, so that the state stands still
    const state = this.#circuit.save()
    const [input, output] = [this.#input, this.#output]
    await Promise.all([this.#writer!.flush(), this.#effects.settled()])
    await this.#checkpoints.save({
      shape: this.#circuit.shape,
      inputCreated: this.#created.input,
      viewCreated: this.#created.view,
      input,
      output,
      bad: this.#bad,
      ended: this.#ended,
      state,
    })
    this.#savedInput = input
  }

  #fail(error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    const replaced = error instanceof MyelinError && error.code === 'WRONG_SEQUENCE'
    const told = replaced
      ? failure('WRONG_SEQUENCE', `processor '${this.#name}': another instance took over (${messageOf(error)})`, {
          cause: error,
        })
      : error
    this.#host.log.error({ err: told }, `processor '${this.#name}' failed`)
    this.#finished.reject(told)
  }

  drain(): Promise<void> {
    this.#stopping ??= (async () => {
      clearInterval(this.#checkpointTimer)
      await this.#reader?.stop()
      clearTimeout(this.#flushTimer)
      // a view that is full or an effect that keeps failing must not hold up the stop: the next instance repeats
      const patience = Date.now() + drainMs
      while (this.#busy && Date.now() < patience) await new Promise((resolve) => setTimeout(resolve, 5))
      this.#backlog.length = 0
      if (this.#writer && !this.#failed && this.#bus.connected) {
        const late = new Promise<string>((resolve) =>
          setTimeout(resolve, Math.max(100, patience - Date.now()), 'rows or effects could not be delivered').unref(),
        )
        const trouble = this.#busy ? 'it is waiting' : await Promise.race([this.#save().catch(messageOf), late])
        if (trouble) this.#host.log.warn(`processor '${this.#name}' stops without a last checkpoint: ${trouble}`)
      }
      this.#effects?.stop()
    })()
    return this.#stopping
  }
}
