// One partition of a processor at work. It reads its input in order, keeps its state in memory, and stores state, input
// position and output positions together; after a crash the next one reads the inputs since then again, makes the same
// rows again, and leaves out those that the outputs already have.
//
// What makes it hold: a program is a pure function of the input's messages in their order; each output stream has one
// writer, and rows carry no identity but their place.
import {
  type Bus,
  boundedTraceLines,
  consume,
  failure,
  MyelinError,
  messageOf,
  now,
  type Rejected,
  type StreamMessage,
  type StreamReader,
  streamWriter,
  type TraceContext,
  timerMs,
  traceOf,
  tracingOn,
} from '../bus/index.ts'
import { isEndOfInput } from '../contract/index.ts'
import type { Logger, Vitals } from '../unit/index.ts'
import { Alignment } from './alignment.ts'
import { Checkpoints } from './checkpoint.ts'
import { Dataflow } from './dataflow.ts'
import { type EffectPlan, Effects, type Origin } from './effects.ts'
import { endedBy, endTick, passOn } from './end-of-input.ts'
import { Enricher, givenUp } from './enrich.ts'
import { type Input, partitionOf } from './input.ts'
import { Output } from './output.ts'
import type { Sink } from './program/index.ts'
import { reject } from './rejected.ts'
import { inputLost, ownerOf, resume, wayOut } from './resume.ts'
import type { Scout, Tick } from './scout.ts'
import type { Source } from './sources.ts'
import type { View, ViewPart } from './view.ts'
import { within } from './waits.ts'
import { Written } from './written.ts'

export interface TaskOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly processor: string
  readonly partition: number
  readonly partitions: number
  readonly input: Input
  readonly sources: readonly Source<unknown>[]
  readonly views: readonly View[]
  /** Where this partition's rows of each view go. */
  readonly outputs: readonly ViewPart[]
  readonly effects: readonly EffectPlan[]
  readonly sinks: readonly Sink[]
  /** What messages do to the clocks that the partitions have in common; absent when there is nothing to share. */
  readonly scout: Scout | undefined
  readonly span?: { readonly fromMs: number; readonly untilMs: number }
  readonly checkpointMs: number
  readonly maxPending: number
  readonly maxKeys?: number
  readonly keysInMemory?: number
  /** Its input has ended, or goes on after an end. */
  readonly onEnd: (ended: boolean) => void
  /** It cannot go on. */
  readonly onFailure: (error: unknown) => void
}

/** What is known of a partition. */
export interface TaskStatus {
  readonly partition: number
  /** Steps of the program, in order. */
  readonly steps: readonly string[]
  /** Unix ms; null before the first event, 'end' after the last. */
  readonly watermarkMs: number | 'end' | null
  /** Input stored and not yet processed. */
  readonly lag: number
  readonly in: number
  /** Rows written so far, by all instances. */
  readonly out: number
  readonly late: number
  readonly rejected: number
  readonly replayed: number
  readonly position: number
  /** Input up to here is processed, and the rows that came of it are stored. */
  readonly written: number
  /** Its clocks are those of all partitions: it also follows what the others' input does to them. */
  readonly sharedClocks: boolean
  /** Events that are in no row yet, and keys that are remembered. */
  readonly open: number
  readonly keys: number
  readonly effects: number
  readonly effectDuplicates: number
  readonly checkpointBytes: number
  readonly checkpointAgeMs: number
  /** How long the last recovery took. */
  readonly restoreMs: number
  readonly ended: boolean
}

const flushAfterMs = 20
const drainMs = 5_000
const nothing = new Uint8Array(0)

export class Task {
  readonly #options: TaskOptions
  readonly #where: string
  readonly #backlog: StreamMessage[] = []
  readonly #decoded = new Map<StreamMessage, Answer>()
  readonly #enrichers: readonly (Enricher | undefined)[]
  readonly #asks: boolean
  #dataflow!: Dataflow
  #effects!: Effects
  #errorOutput = 0
  #outputs: Output[] = []
  #checkpoints!: Checkpoints
  #reader: StreamReader | undefined
  #alignment: Alignment | undefined
  /** How many messages of the backlog the other partitions know of. */
  #scouted = 0
  /** The one whose answer the next of them wait for. */
  #unanswered: StreamMessage | undefined
  #input = 0
  #inputMs = 0
  /** Up to where the other partitions were followed, where nothing of this one's own was left. */
  #followed = 0
  readonly #written = new Written()
  #message: StreamMessage | undefined
  /** Sequence of what is being processed: a message, or one of another partition that moves a clock. */
  #place = 0
  #effectsOfMessage = 0
  #rejectionsOfMessage = 0
  readonly #starting = new AbortController()
  #read = 0
  /** Messages the server had not delivered yet, as it said with the last one. */
  #lag = 0
  #rejected = 0
  /** What the checkpoint says that is being stored. */
  #taken: { readonly input: number; rejected: number } | undefined
  #ended = false
  readonly #endedSources = new Set<number>()
  #busy = false
  #savedInput = -1
  #savedAt = performance.now()
  #saving: Promise<void> | undefined
  #restoreMs = 0
  #stopping: Promise<void> | undefined
  #failed = false
  #checkpointTimer: NodeJS.Timeout | undefined
  #flushTimer: NodeJS.Timeout | undefined
  /** What was announced and not processed is let go: nothing may pass it. */
  #frozen = false
  #checkpointDue = false

  constructor(options: TaskOptions) {
    this.#options = options
    const { processor, partition, partitions, sources, bus, log } = options
    this.#where = partitions === 1 ? `processor '${processor}'` : `processor '${processor}', partition ${partition}`
    this.#enrichers = sources.map(({ enrichment }) => enrichment && new Enricher(enrichment, { bus, log }))
    this.#asks = this.#enrichers.some((enricher) => enricher !== undefined)
  }

  vitals(): Vitals {
    return { handled: this.#read, errors: this.#rejected, lag: this.#lag + this.#backlog.length }
  }

  status(): TaskStatus {
    const dataflow = this.#dataflow as Dataflow | undefined
    const watermarkMs = dataflow?.watermarkMs ?? Number.NEGATIVE_INFINITY
    return {
      partition: this.#options.partition,
      steps: dataflow?.steps ?? [],
      watermarkMs: watermarkMs === Number.POSITIVE_INFINITY ? 'end' : Number.isFinite(watermarkMs) ? watermarkMs : null,
      lag: this.#lag + this.#backlog.length,
      in: this.#read,
      out: this.#outputs.reduce((sum, { rows }) => sum + rows, 0),
      late: dataflow?.late ?? 0,
      rejected: this.#rejected,
      replayed: this.#outputs.reduce((sum, { replayed }) => sum + replayed, 0),
      position: this.#input,
      written: this.#written.look(Math.max(this.#input, this.#followed), this.#outputs),
      sharedClocks: this.#alignment !== undefined,
      open: dataflow?.open ?? 0,
      keys: dataflow?.keys ?? 0,
      effects: this.#effects?.done ?? 0,
      effectDuplicates: this.#effects?.duplicates ?? 0,
      checkpointBytes: this.#checkpoints?.lastBytes ?? 0,
      checkpointAgeMs: Math.round(performance.now() - this.#savedAt),
      restoreMs: this.#restoreMs,
      ended: this.#ended,
    }
  }

  /** Input before this will not be needed again. */
  get lowWatermark(): number {
    return this.#checkpoints?.lowWatermark ?? 0
  }

  async start(): Promise<void> {
    const { bus, log, processor, partition, partitions, input, effects, outputs, views } = this.#options
    const plans = [...effects, reject(processor) as EffectPlan, passOn({ partition, partitions, input }) as EffectPlan]
    this.#errorOutput = effects.length
    this.#effects = new Effects(plans, { bus, log }, (error, origin, id) => this.#effectRejected(error, origin, id))
    const began = performance.now()
    const opened = await Checkpoints.open(bus, {
      processor,
      ...(partitions === 1 ? {} : { partition }),
      log,
      dataflow: () => this.#build(),
    })
    this.#checkpoints = opened.checkpoints
    this.#dataflow = opened.dataflow
    const place = await resume({
      ...this.#options,
      where: this.#where,
      shape: this.#dataflow.shape,
      found: opened.found,
      reject: (rejected) =>
        within('writing to the error output', 30_000, this.#starting.signal, () =>
          this.#effects.start(this.#errorOutput, rejected, ''),
        ),
    })
    this.#checkpoints.identity = place.identity
    this.#input = place.input
    this.#inputMs = place.inputMs
    this.#savedInput = opened.found ? place.input : -1
    this.#rejected = place.rejected
    this.#ended = place.ended
    for (const source of place.endedSources) this.#endedSources.add(source)
    this.#restoreMs = Math.round(performance.now() - began)
    const owner = ownerOf(this.#options, place.identity.life)
    for (const [i, part] of outputs.entries()) {
      const writer = await streamWriter(bus, part.stream, {
        lastSequence: place.outputs[i]!.end,
        onWait: (reason) => log.warn({ code: reason.code }, `${part.stream} waits: ${reason.message}`),
      })
      this.#outputs.push(new Output(bus, { view: views[i]!, part, writer, owner }, place.outputs[i]!))
    }
    // a checkpoint before the first row: an output with rows then always has one
    if (!opened.found) await this.#save()
    this.#reportEnd()
    if (this.#options.scout) this.#alignment = await this.#align()
    this.#reader = await consume(bus, {
      stream: input.stream,
      subjects: [input.subject(partition)],
      from: { sequence: this.#input + 1 },
      maxPending: this.#options.maxPending,
      onMessage: (message) => this.#receive(message),
      // what it counted is not there any more: going on would count other messages as those
      onGap: (gap) => {
        void this.#reader?.stop()
        this.#fail(inputLost(this.#where, gap, gap.next - 1, wayOut(this.#options)))
      },
      onError: (error) => log.warn({ code: error.code }, `reading ${input.stream}: ${error.message}`),
    })
    this.#checkpointTimer = setInterval(() => {
      this.#checkpointDue = true
      if (!this.#busy && (this.#backlog.length === 0 || this.#alignment)) void this.#work()
    }, timerMs(this.#options.checkpointMs))
  }

  #align(): Promise<Alignment> {
    const { bus, log, processor, partition, partitions, input } = this.#options
    const position = this.#input
    return Alignment.open({
      bus,
      log,
      processor,
      partition,
      partitions,
      stream: input.stream,
      subject: input.subject(partition),
      position,
      clocks: [...this.#dataflow.times].map(([clock, ms]) => ({
        sequence: position,
        clock,
        ms,
        storedMs: this.#inputMs,
      })),
      behind: () => this.#lag > 0 || this.#scouted < this.#backlog.length,
      onProgress: () => {
        if (!this.#busy && !this.#stopping) void this.#work()
      },
    })
  }

  #build(): Dataflow {
    const { partition, partitions, processor, span, maxKeys, keysInMemory } = this.#options
    const dataflow = new Dataflow({
      startEffect: (effect, value) => this.#startEffect(effect, value),
      reject: (error) => this.#rejectInput(error),
      ...(partitions === 1
        ? {}
        : {
            ownKey: (key: string) => {
              const owner = partitionOf(key, partitions)
              if (owner === partition) return
              throw failure(
                'WRONG_PARTITION',
                `keyBy gives "${key}", which belongs to partition ${owner} and not to ${partition}: a processor of several partitions is keyed as its input is; let another processor write an event under the new key first`,
              )
            },
          }),
      ...(span ? { span } : {}),
      ...(maxKeys === undefined ? {} : { maxKeys }),
      ...(keysInMemory === undefined ? {} : { keysInMemory }),
    })
    dataflow.describe(0, `${processor}/${partitions}`)
    for (const sink of this.#options.sinks) sink.connect(dataflow)
    return dataflow
  }

  #receive(message: StreamMessage): void {
    if (this.#failed) return
    if (this.#asks) this.#ask(message)
    if (this.#alignment) {
      this.#backlog.push(message)
      this.#lag = message.pending
      this.#announceClocks(this.#alignment)
      if (!this.#busy && this.#alignment.knows(this.#backlog[0]!.sequence)) void this.#work()
      return
    }
    if (this.#busy || this.#backlog.length > 0) {
      this.#backlog.push(message)
      return
    }
    if (this.#asks && this.#decoded.get(message)?.done === false) this.#backlog.push(message)
    else if (this.#process(message)) return
    void this.#work()
  }

  /** What messages do to the clocks is announced before they have their turn; of those that are asked about in order. */
  #announceClocks(alignment: Alignment): void {
    const { scout, input } = this.#options
    for (; this.#scouted < this.#backlog.length; this.#scouted++) {
      const message = this.#backlog[this.#scouted]!
      const { sequence, timestampMs } = message
      if (message.data.length === 0 && isEndOfInput(message)) {
        alignment.announce(sequence, [endTick(input.sourceOf(message.subject), sequence, timestampMs)])
        continue
      }
      const source = input.sourceOf(message.subject)
      const answer = this.#decoded.get(message) ?? this.#early(source, message)
      if (!answer.done) {
        if (this.#unanswered !== message) void answer.promise.then(() => this.#announceClocks(alignment))
        this.#unanswered = message
        return
      }
      const ticks = answer.error === undefined ? scout!.ticksOf(sequence, source, answer.value, timestampMs) : []
      alignment.announce(
        sequence,
        ticks.filter(({ clock, ms }) => this.#dataflow.isNews(clock, ms)),
      )
    }
  }

  /** A message is decoded once. */
  #early(source: number, message: StreamMessage): Answer {
    const answer: Answer = { done: true, promise: Promise.resolve() }
    try {
      answer.value = this.#decode(source, message)
    } catch (error) {
      answer.error = error
    }
    this.#decoded.set(message, answer)
    return answer
  }

  /** Questions about a message are asked as soon as it is here; the program gets it when its turn comes. */
  #ask(message: StreamMessage): void {
    const source = this.#options.input.sourceOf(message.subject)
    const enricher = this.#enrichers[source]
    if (!enricher || (message.data.length === 0 && isEndOfInput(message))) return
    const answer: Answer = { done: false, promise: Promise.resolve() }
    const settle = (value: unknown, error?: unknown) => Object.assign(answer, { done: true, value, error })
    try {
      answer.promise = enricher.enrich(this.#decode(source, message)).then(settle, (error) => settle(undefined, error))
    } catch (error) {
      settle(undefined, error)
    }
    this.#decoded.set(message, answer)
  }

  #decode(source: number, message: StreamMessage): unknown {
    const { sources, input } = this.#options
    return sources[source]!.decode(message, input.keyOf)
  }

  /** Hot path. One message from beginning to end, without a promise; false when the loop must wait for something. */
  #process(message: StreamMessage): boolean {
    this.#reader?.release()
    if (this.#failed) return true
    this.#message = message
    this.#place = message.sequence
    this.#effectsOfMessage = 0
    this.#rejectionsOfMessage = 0
    try {
      const source = this.#options.input.sourceOf(message.subject)
      if (message.data.length === 0 && isEndOfInput(message)) {
        this.#end(source)
        if (!this.#alignment) this.#passOn(source, message)
      } else {
        if (this.#ended) this.#goOn()
        const answer = this.#asks || this.#alignment ? this.#decoded.get(message) : undefined
        if (answer) {
          this.#decoded.delete(message)
          if (answer.error !== undefined) throw answer.error
        }
        this.#dataflow.feed(source, answer ? answer.value : this.#decode(source, message), message.timestampMs)
      }
    } catch (error) {
      this.#rejectInput(error)
    }
    this.#read += 1
    this.#input = message.sequence
    this.#inputMs = message.timestampMs
    // a partition among others reads ahead: what lies between is its backlog
    if (!this.#alignment) this.#lag = message.pending
    if (this.#dataflow.rows.length > 0 && !this.#emit()) return true
    return this.#mayGoOn()
  }

  /** What the other partitions' messages up to a place did to the clocks. False when the loop must wait for something. */
  #follow(alignment: Alignment, to: number): boolean {
    for (let tick = alignment.next(to); tick !== undefined; tick = alignment.next(to)) {
      if (this.#failed || this.#frozen) return true
      this.#message = undefined
      this.#place = tick.sequence
      this.#effectsOfMessage = 0
      this.#rejectionsOfMessage = 0
      // what one message did to several clocks belongs to one place
      for (let one: Tick | undefined = tick; one !== undefined; one = alignment.next(tick.sequence)) {
        const ended = endedBy(one)
        if (ended === undefined) this.#dataflow.tickElsewhere(one.clock, one.ms, one.storedMs)
        else this.#end(ended)
      }
      this.#input = tick.sequence
      this.#inputMs = tick.storedMs
      if (this.#dataflow.rows.length > 0 && !this.#emit()) return true
      if (!this.#mayGoOn()) return false
    }
    return true
  }

  #mayGoOn(): boolean {
    if (this.#checkpointDue && !this.#saving) return false
    for (const output of this.#outputs) if (!output.hasRoom) return false
    return !this.#effects.ready()
  }

  #end(source: number): void {
    this.#dataflow.end(source)
    this.#endedSources.add(source)
    const running = this.#options.sources.some(({ kind }, i) => kind === 'events' && !this.#endedSources.has(i))
    if (running) return
    this.#ended = true
    this.#checkpointDue = true
  }

  /** An end lies in one partition. Where there are no marks, the others get a message of their own. */
  #passOn(source: number, { subject, sequence }: StreamMessage): void {
    const { input, partition, partitions } = this.#options
    if (partitions === 1 || subject === input.endSubject(partition, source)) return
    void this.#effects.start(this.#errorOutput + 1, { source, sequence }, '')
  }

  #goOn(): void {
    this.#ended = false
    this.#reportEnd()
  }

  #reportEnd(): void {
    this.#options.onEnd(this.#ended)
  }

  #startEffect(effect: number, value: unknown): void {
    const { processor, partition } = this.#options
    this.#effectsOfMessage += 1
    const id = `${processor}.${partition}.${this.#place}.${this.#effectsOfMessage}`
    void this.#effects.start(effect, value, id, this.#origin, this.#dataflow.advancing ? undefined : this.#trace)
  }

  /** The trace of the message that is being processed. */
  get #trace(): TraceContext | undefined {
    return this.#message && traceOf(this.#message.headers)
  }

  /** The message that is being processed; of one of another partition only its place is known. */
  get #origin(): Origin {
    return this.#message ?? { sequence: this.#place, subject: '', data: nothing }
  }

  /** What cannot be used goes to the error output; the stream goes on. */
  #rejectInput(error: unknown): void {
    this.#rejectionsOfMessage += 1
    const place = `${this.#options.input.stream}.${this.#place}`
    const own = this.#message ? place : `${place}.p${this.#options.partition}`
    void this.#reject(
      error,
      this.#origin,
      this.#rejectionsOfMessage === 1 ? own : `${own}.${this.#rejectionsOfMessage}`,
    )
  }

  readonly #rejectRow = (error: unknown): void => this.#rejectInput(error)

  async #effectRejected(error: unknown, origin: Origin | undefined, id: string): Promise<void> {
    // of a message that the checkpoint covers which is being stored
    if (origin && this.#taken && origin.sequence <= this.#taken.input) this.#taken.rejected += 1
    await this.#reject(error, origin, id)
  }

  #reject(error: unknown, origin: Origin | undefined, id: string): Promise<void> | undefined {
    this.#rejected += 1
    const { input, log } = this.#options
    if (this.#rejected <= 10 || this.#rejected % 10_000 === 0) {
      const code = error instanceof MyelinError ? error.code : 'INTERNAL'
      log.warn(
        { code, sequence: origin?.sequence, rejected: this.#rejected },
        `an input of ${input.stream} cannot be used and is left out: ${messageOf(error)}`,
      )
    }
    if (!origin) return undefined
    const { sequence, subject, data } = origin
    // the message's bytes are the client library's buffer: a copy is what may wait
    const rejected: Rejected = { id, error, stream: input.stream, sequence, subject, data: Buffer.from(data) }
    return this.#effects.start(this.#errorOutput, rejected, '')
  }

  /** False when an output cannot be written any more: the task has failed. */
  #emit(): boolean {
    const { rows } = this.#dataflow
    this.#dataflow.rows = []
    try {
      // rows carry traces where somebody looks at them: reading them costs a tenth of what a message does
      const trace = tracingOn() ? boundedTraceLines(this.#trace) : ''
      for (const row of rows) this.#outputs[row.output]!.add(row, this.#rejectRow, row.byTime ? '' : trace)
    } catch (error) {
      this.#fail(error)
      return false
    }
    // rows of a quiet input must not wait for a full batch
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined
      for (const output of this.#outputs) output.send()
      // a writer that failed meanwhile is noticed even if no input comes any more
      if (this.#outputs.some((output) => !output.hasRoom) && !this.#busy) void this.#work()
    }, flushAfterMs)
    return true
  }

  /** Waits for what a message made necessary, then works off what arrived meanwhile. */
  async #work(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    try {
      for (;;) {
        for (const output of this.#outputs) {
          const room = output.ready()
          if (room) await room
        }
        const room = this.#effects.ready()
        if (room) await room
        if (this.#checkpointDue && !this.#saving) this.#begin()
        let taken = 0
        while (taken < this.#backlog.length) {
          const next = this.#backlog[taken]!
          const answer = this.#decoded.get(next)
          if (answer && (!answer.done || answer.error === givenUp)) break
          if (this.#alignment && (taken >= this.#scouted || !this.#alignment.knows(next.sequence))) break
          if (this.#alignment && !this.#follow(this.#alignment, next.sequence - 1)) break
          taken += 1
          if (!this.#process(next)) break
        }
        this.#backlog.splice(0, taken)
        this.#scouted = Math.max(0, this.#scouted - taken)
        const [next] = this.#backlog
        if (this.#alignment) {
          const waits = next !== undefined && !this.#alignment.knows(next.sequence)
          if (next === undefined || waits) {
            // a partition that gets nothing goes on with the others
            const to = Math.min(this.#alignment.frontier, (next?.sequence ?? Number.POSITIVE_INFINITY) - 1)
            if (!this.#follow(this.#alignment, to)) continue
            if (!this.#failed && !this.#frozen) this.#followed = to
            if (this.#mayGoOn()) break
            continue
          }
        }
        if (next === undefined) {
          if (this.#mayGoOn()) break
          continue
        }
        const answer = this.#decoded.get(next)
        if (answer && !answer.done) await answer.promise
        // it stops: what was not answered is read again by the next
        if (answer?.error === givenUp) break
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#busy = false
    }
  }

  /** Takes the state down and goes on; storing it takes its time beside. */
  #begin(): void {
    this.#checkpointDue = false
    if (this.#input === this.#savedInput) return
    this.#saving = this.#save()
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#saving = undefined
      })
  }

  /** Rows stored and effects done first, then the checkpoint: it never claims more than there is. */
  async #save(): Promise<void> {
    const positions = {
      input: this.#input,
      inputMs: this.#inputMs,
      outputs: this.#outputs.map(({ position }) => position),
      rejected: this.#rejected,
      ended: this.#ended,
      endedSources: [...this.#endedSources],
    }
    const pending = this.#checkpoints.take(positions, this.#dataflow)
    this.#taken = positions
    const written = this.#outputs.map((output, i) => output.stored(positions.outputs[i]!))
    // and the others can know of what is not read again
    await Promise.all([...written, this.#effects.settled(), this.#alignment?.published(positions.input)])
    this.#taken = undefined
    await this.#checkpoints.store(pending)
    this.#savedInput = positions.input
    this.#savedAt = performance.now()
    if (positions.ended && this.#ended) this.#reportEnd()
  }

  #fail(error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    const replaced = error instanceof MyelinError && error.code === 'WRONG_SEQUENCE'
    const reported = replaced
      ? failure('WRONG_SEQUENCE', `${this.#where}: another instance took over (${messageOf(error)})`, { cause: error })
      : error
    this.#options.onFailure(reported)
  }

  /** Stops with its place written down, if that is possible within a few seconds. */
  drain(): Promise<void> {
    this.#stopping ??= (async () => {
      const { log, bus } = this.#options
      this.#starting.abort()
      clearInterval(this.#checkpointTimer)
      await this.#reader?.stop()
      clearTimeout(this.#flushTimer)
      for (const enricher of this.#enrichers) enricher?.stop()
      // an output that is full or an effect that keeps failing must not hold up the stop: the next instance repeats
      const patience = now() + drainMs
      while (this.#busy && now() < patience) await new Promise((resolve) => setTimeout(resolve, 5))
      this.#frozen = true
      this.#backlog.length = 0
      if (this.#reader && !this.#failed && bus.connected) {
        const late = new Promise<string>((resolve) =>
          setTimeout(resolve, Math.max(100, patience - now()), 'rows or effects could not be delivered').unref(),
        )
        const last = async () => {
          await this.#saving
          if (this.#failed) return undefined
          return this.#save().then(() => undefined, messageOf)
        }
        const trouble = this.#busy ? 'it is waiting' : await Promise.race([last(), late])
        if (trouble) log.warn(`${this.#where} stops without a last checkpoint: ${trouble}`)
      }
      this.#failed = true
      this.#effects?.stop()
      await this.#alignment?.stop()
    })()
    return this.#stopping
  }
}

/** What was asked about a message. */
interface Answer {
  done: boolean
  promise: Promise<unknown>
  value?: unknown
  error?: unknown
}
