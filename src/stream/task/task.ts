// One partition of a processor at work. It reads its input in order, keeps its state in memory, and stores state, input
// position and output positions together; after a crash the next one reads the inputs since then again, makes the same
// rows again, and leaves out those that the outputs already have.
//
// What makes it hold: a program is a pure function of the input's messages in their order; each output stream has one
// writer, and rows carry no identity but their place.
//
// Input: backlog and answers, what waits and what is known of it ahead. State: execution, which has the dataflow, and turn.
// Outputs: outputs, effects and rejections. Checkpoints: saving. Here they are put together, started and stopped.
import {
  consume,
  failure,
  MyelinError,
  messageOf,
  now,
  type StreamMessage,
  type StreamReader,
  timerMs,
} from '../../bus/internal.ts'
import type { Vitals } from '../../unit/internal.ts'
import type { Alignment } from '../alignment.ts'
import type { Dataflow } from '../dataflow.ts'
import { type EffectPlan, Effects } from '../effects.ts'
import { passOn } from '../end-of-input.ts'
import { givenUp } from '../enrich.ts'
import { reject } from '../rejected.ts'
import { inputLost, ownerOf, wayOut } from '../resume.ts'
import { within } from '../waits.ts'
import { Answers } from './answers.ts'
import { Backlog } from './backlog.ts'
import { dataflowOf } from './dataflow-of.ts'
import { Execution } from './execution.ts'
import type { TaskOptions } from './options.ts'
import { Outputs } from './outputs.ts'
import { recover } from './recover.ts'
import { Rejections } from './rejections.ts'
import { type Progress, Saving } from './saving.ts'
import { type SharedClocks, shareClocks } from './shared-clocks.ts'
import { statusOf, type TaskStatus } from './status.ts'
import { Turn } from './turn.ts'

const drainMs = 5_000

export class Task {
  readonly #options: TaskOptions
  readonly #where: string
  readonly #effectPrefix: string
  readonly #answers: Answers
  readonly #backlog: Backlog
  readonly #turn = new Turn()
  readonly #rejections: Rejections
  #dataflow: Dataflow | undefined
  #effects!: Effects
  #execution!: Execution
  #outputs!: Outputs
  #saving!: Saving
  #reader: StreamReader | undefined
  #alignment: Alignment | undefined
  #clocks: SharedClocks | undefined
  /** Up to where the other partitions were followed, where nothing of this one's own was left. */
  #followed = 0
  #busy = false
  #restoreMs = 0
  readonly #starting = new AbortController()
  #checkpointTimer: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined
  #failed = false
  /** What was announced and not processed is let go: nothing may pass it. */
  #frozen = false

  constructor(options: TaskOptions) {
    this.#options = options
    const { processor, partition, partitions, input, log, effects } = options
    this.#where = partitions === 1 ? `processor '${processor}'` : `processor '${processor}', partition ${partition}`
    this.#effectPrefix = `${processor}.${partition}`
    this.#answers = new Answers(options)
    this.#backlog = new Backlog(input, this.#answers)
    this.#rejections = new Rejections(input.stream, log, (one) => this.#effects.start(effects.length, one, ''))
  }

  vitals(): Vitals {
    return { handled: this.#execution?.read ?? 0, errors: this.#rejections.count, lag: this.#backlog.lag }
  }

  status(): TaskStatus {
    return statusOf(this.#options.partition, {
      dataflow: this.#dataflow,
      execution: this.#execution,
      effects: this.#effects,
      saving: this.#saving,
      rejections: this.#rejections,
      lag: this.#backlog.lag,
      followed: this.#followed,
      restoreMs: this.#restoreMs,
    })
  }

  /** Input before this will not be needed again. */
  get lowWatermark(): number {
    return this.#saving?.lowWatermark ?? 0
  }

  async start(): Promise<void> {
    const { bus, log, processor, partition, partitions, input, effects, outputs, views, scout } = this.#options
    const plans = [...effects, reject(processor) as EffectPlan, passOn({ partition, partitions, input }) as EffectPlan]
    this.#effects = new Effects(plans, { bus, log }, (error, origin, id) =>
      this.#rejections.ofEffect(error, origin, id),
    )
    const began = performance.now()
    const { checkpoints, dataflow, place, fresh } = await recover(this.#options, {
      where: this.#where,
      dataflow: () => this.#build(),
      reject: (rejected) =>
        within('writing to the error output', 30_000, this.#starting.signal, () =>
          this.#effects.start(effects.length, rejected, ''),
        ),
    })
    this.#dataflow = dataflow
    this.#rejections.count = place.rejected
    this.#restoreMs = Math.round(performance.now() - began)
    this.#outputs = await Outputs.open({
      bus,
      log,
      views,
      parts: outputs,
      from: place.outputs,
      owner: ownerOf(this.#options, place.identity.life),
      reject: (error) => this.#reject(error),
      onFull: () => {
        if (!this.#busy) void this.#work()
      },
    })
    this.#execution = new Execution(this.#options, {
      dataflow,
      turn: this.#turn,
      answers: this.#answers,
      outputs: this.#outputs,
      effects: this.#effects,
      rejections: this.#rejections,
      place,
      reject: (error) => this.#reject(error),
      onFailure: (error) => this.#fail(error),
      onAllEnded: () => this.#saving.ask(),
    })
    this.#saving = new Saving({
      checkpoints,
      dataflow,
      savedInput: fresh ? -1 : place.input,
      progress: () => this.#execution.progress,
      settled: (progress) => this.#settled(progress),
      onSaved: ({ ended }) => ended && this.#execution.ended && this.#execution.reportEnd(),
      onFailure: (error) => this.#fail(error),
    })
    // a checkpoint before the first row: an output with rows then always has one
    if (fresh) await this.#saving.save()
    this.#execution.reportEnd()
    if (scout) {
      this.#clocks = await shareClocks(scout, this.#options, this.#execution, this.#backlog, () => {
        if (!this.#busy && !this.#stopping) void this.#work()
      })
      this.#alignment = this.#clocks.alignment
      this.#execution.sharedClocks = true
    }
    this.#reader = await consume(bus, {
      stream: input.stream,
      subjects: [input.subject(partition)],
      from: { sequence: place.input + 1 },
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
      this.#saving.ask()
      if (!this.#busy && (this.#backlog.length === 0 || this.#alignment)) void this.#work()
    }, timerMs(this.#options.checkpointMs))
  }

  #build(): Dataflow {
    return dataflowOf(this.#options, {
      startEffect: (effect, value) => {
        const turn = this.#turn
        const trace = this.#dataflow!.advancing ? undefined : turn.trace
        void this.#effects.start(effect, value, turn.nextEffectId(this.#effectPrefix), turn.origin, trace)
      },
      reject: (error) => this.#reject(error),
    })
  }

  #receive(message: StreamMessage): void {
    if (this.#failed) return
    const backlog = this.#backlog
    if (this.#answers.asks) this.#answers.ask(message)
    if (this.#alignment) {
      backlog.push(message)
      backlog.undelivered = message.pending
      this.#backlog.announce(this.#clocks!)
      if (!this.#busy && this.#alignment.knows(backlog.first!.sequence)) void this.#work()
      return
    }
    if (this.#busy || backlog.length > 0) {
      backlog.push(message)
      return
    }
    if (this.#answers.asks && this.#answers.of(message)?.done === false) backlog.push(message)
    else if (this.#process(message)) return
    void this.#work()
  }

  /** Hot path. One message from beginning to end, without a promise; false when the loop must wait for something. */
  #process(message: StreamMessage): boolean {
    this.#reader?.release()
    if (this.#failed) return true
    this.#execution.process(message)
    // a partition among others reads ahead: what lies between is its backlog
    if (!this.#alignment) this.#backlog.undelivered = message.pending
    return this.#failed || this.#mayGoOn()
  }

  /** What the other partitions' messages up to a place did to the clocks. False when the loop must wait for something. */
  #follow(alignment: Alignment, to: number): boolean {
    for (let tick = alignment.next(to); tick !== undefined; tick = alignment.next(to)) {
      if (this.#failed || this.#frozen) return true
      this.#execution.follow(tick, alignment)
      if (this.#failed) return true
      if (!this.#mayGoOn()) return false
    }
    return true
  }

  #mayGoOn(): boolean {
    return !this.#saving.isNext && this.#outputs.hasRoom && !this.#effects.ready()
  }

  /** What cannot be used goes to the error output; the stream goes on. */
  #reject(error: unknown): void {
    const { input, partition } = this.#options
    void this.#rejections.add(error, this.#turn.origin, this.#turn.nextRejectionId(input.stream, partition))
  }

  /** Waits for what a message made necessary, then works off what arrived meanwhile. */
  async #work(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    try {
      for (;;) {
        for (const output of this.#outputs.each) {
          const room = output.ready()
          if (room) await room
        }
        const room = this.#effects.ready()
        if (room) await room
        if (this.#saving.isNext) this.#saving.begin(this.#execution.input)
        this.#workOff()
        const next = this.#backlog.first
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
        if (next === undefined && this.#mayGoOn()) break
        if (next === undefined) continue
        const answer = this.#answers.of(next)
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

  /** What can have its turn now. */
  #workOff(): void {
    const alignment = this.#alignment
    let taken = 0
    for (;;) {
      const next = this.#backlog.ready(taken, alignment)
      if (next === undefined || (alignment && !this.#follow(alignment, next.sequence - 1))) break
      taken += 1
      if (!this.#process(next)) break
    }
    this.#backlog.drop(taken)
  }

  /** Resolves when all that a checkpoint covers is done, and the other partitions can know of what is not read again. */
  async #settled(progress: Progress): Promise<void> {
    this.#rejections.taken = progress
    const written = this.#outputs.stored(progress.outputs)
    await Promise.all([written, this.#effects.settled(), this.#alignment?.published(progress.input)])
    this.#rejections.taken = undefined
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
      this.#starting.abort()
      clearInterval(this.#checkpointTimer)
      await this.#reader?.stop()
      this.#outputs?.stop()
      this.#answers.stop()
      // an output that is full or an effect that keeps failing must not hold up the stop: the next instance repeats
      const patience = now() + drainMs
      while (this.#busy && now() < patience) await new Promise((resolve) => setTimeout(resolve, 5))
      this.#frozen = true
      this.#backlog.clear()
      if (this.#reader && !this.#failed && this.#options.bus.connected) await this.#saveLast(patience)
      this.#failed = true
      this.#effects?.stop()
      await this.#alignment?.stop()
    })()
    return this.#stopping
  }

  async #saveLast(patience: number): Promise<void> {
    const late = new Promise<string>((resolve) =>
      setTimeout(resolve, Math.max(100, patience - now()), 'rows or effects could not be delivered').unref(),
    )
    const last = async () => {
      await this.#saving.finished()
      if (this.#failed) return undefined
      return this.#saving.save().then(() => undefined, messageOf)
    }
    const trouble = this.#busy ? 'it is waiting' : await Promise.race([last(), late])
    if (trouble) this.#options.log.warn(`${this.#where} stops without a last checkpoint: ${trouble}`)
  }
}
