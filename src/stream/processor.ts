// processor(): a program over streams becomes a unit. Several instances share its partitions.
//
// Promise: effectively once. Every input counts exactly once in the views, whatever dies when; what is done outside
// (`to` with an effect) happens at least once, each with an id. See task/task.ts for what makes it hold.
import { failure, MyelinError, messageOf } from '../bus/internal.ts'
import { subjectToken } from '../contract/internal.ts'
import { defineUnit, openAll, type RunningUnit, type Unit, type UnitContext, type Vitals } from '../unit/internal.ts'
import { Assignment } from './assignment.ts'
import { Copies } from './copies.ts'
import type { EffectPlan } from './effects.ts'
import { type Input, inputOf } from './input.ts'
import { answerInspections, type Inspection } from './inspect.ts'
import { type Config, processorConfig, spanOf } from './processor-config.ts'
import { Node, Plan, type Rows, Sink, Stream, Table } from './program/index.ts'
import { keepProgram } from './run-program.ts'
import { Scout } from './scout.ts'
import type { Source, TableSource } from './sources.ts'
import { Task } from './task/task.ts'
import { copiesOf, ensureParts, renamed, type View, type ViewPart } from './view.ts'

export interface ProcessorOptions<From, Row = unknown, Key extends string = string> {
  /** What it reads: one source, or several by name. */
  readonly from: From
  /** Where the rows go that the program gives back. */
  readonly to?: View<Row, Key>
  readonly description?: string
  /**
   * Into how many parts its keys are cut; as many instances can share the work. Cannot be changed later. Default 1. With
   * more, the program must be keyed as its input is.
   */
  readonly partitions?: number
  /** How often state and positions are stored; what a restart has to read again. Default 1,000 ms. */
  readonly checkpointMs?: number
  /** Input messages here and not yet processed, per partition; the bound of its memory. Default 5,000. */
  readonly maxPending?: number
  /** Keys that one step may remember, per partition; more go to the error output. Default 10,000,000. */
  readonly maxKeys?: number
  /**
   * Keys of windows that one step keeps in memory, per partition; those that were not touched for longest are spilled to
   * a temporary SQLite file. Default 1,000,000.
   */
  readonly keysInMemory?: number
  /** After how long a silent instance is replaced. Default 2,000 ms. */
  readonly termMs?: number
}

type Sources = Source<unknown> | Readonly<Record<string, Source<unknown>>>
type InputOfSource<From> =
  From extends TableSource<infer T> ? Table<T> : From extends Source<infer T> ? Stream<T> : never
/** {@link Rows} as far as `to` needs to know them: comparing all that can be done with rows would take the compiler ages. */
interface Given<Row> {
  readonly row: Row
  to(view: View<never>): Sink
}
/** What a program is given: a stream or table for each source. */
export type Inputs<From> =
  From extends Source<unknown> ? InputOfSource<From> : { readonly [Name in keyof From]: InputOfSource<From[Name]> }

/**
 * Defines a stream processor: feeds in, views out.
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
export function processor<const From extends Sources, Row, Key extends string>(
  name: string,
  options: ProcessorOptions<From, Row, Key> & { readonly to: View<Row, Key> },
  // a view's row is the program's row and its key
  program: (input: Inputs<From>) => Given<Omit<Row, Key>> | readonly [Given<Omit<Row, Key>>, ...Sink[]],
): Unit<Config>
export function processor<const From extends Sources>(
  name: string,
  options: ProcessorOptions<From> & { readonly to?: undefined },
  program: (input: Inputs<From>) => Sink | readonly Sink[],
): Unit<Config>
export function processor(
  name: string,
  // biome-ignore lint/suspicious/noExplicitAny: the overloads say what it is
  options: ProcessorOptions<Sources, any, any>,
  // biome-ignore lint/suspicious/noExplicitAny: the overloads say what it is
  program: (input: any) => any,
): Unit<Config> {
  subjectToken(name, 'processor name')
  const partitions = options.partitions ?? 1
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > 1_024) {
    throw failure('INVALID_OPTION', `processor '${name}': partitions: expected 1 to 1024, got ${partitions}`)
  }
  const plan = new Plan()
  const { from } = options
  const single = isSource(from)
  const sources = single ? [from] : Object.values(from)
  const inputs = sources.map((source, i) => inputFor(plan, source, i))
  const given = single ? inputs[0] : Object.fromEntries(Object.keys(from).map((key, i) => [key, inputs[i]]))
  const made = [program(given)].flat() as (Rows<never> | Sink)[]
  const sinks = made.map((one) => {
    if (one instanceof Sink) return one
    if (!options.to) {
      throw failure(
        'INVALID_OPTION',
        `processor '${name}': its program gives back rows, but \`to\` says no view for them`,
      )
    }
    return one.to(options.to as unknown as View<never>)
  })
  if (sinks.length === 0)
    throw failure('INVALID_OPTION', `processor '${name}': its program has no end: nothing goes out`)
  inputOf(name, sources, partitions) // what cannot be partitioned is an error when it is written, not when it is run
  const unit = defineUnit<Config>({
    kind: 'processor',
    name,
    config: processorConfig,
    ...(options.description ? { description: options.description } : {}),
    start: async (host) => {
      const as = host.config.as ?? name
      subjectToken(as, 'processor: as')
      const views = plan.views.map((view) => (as === name ? view : renamed(view, renamedView(view, name, as))))
      return openAll(async (opened) => {
        const running = new Processor(host, {
          name: as,
          partitions,
          sources,
          views,
          effects: host.config.effects === false ? plan.effects.map(leftOut) : plan.effects,
          sinks,
          scout: () => (partitions === 1 ? undefined : Scout.of(plan)),
          input: inputOf(as, sources, partitions),
          options,
        })
        opened.add(() => running.drain())
        await running.start()
        return running
      })
    },
  })
  keepProgram(unit, { name, plan, sinks, sources, names: single ? undefined : Object.keys(from) })
  return unit
}

/** Nothing instead of an effect: time travel must not send out again what was sent long ago. */
const leftOut = ({ name }: EffectPlan): EffectPlan => ({ name, open: () => async () => undefined })

const isSource = (from: Sources): from is Source<unknown> => typeof from.decode === 'function'

function inputFor(plan: Plan, source: Source<unknown>, number: number): Stream<unknown> | Table<unknown> {
  const node = Node.root<unknown>(plan, new Set([number]), number)
  return source.kind === 'table' ? Table.of(node, (change) => change as never, 0) : new Stream(node)
}

/** `delays` of processor `delays` becomes what the processor becomes; other views get the new name in front. */
const renamedView = (view: View, name: string, as: string) => (view.name === name ? as : `${as}-${view.name}`)

interface ProcessorPlan {
  readonly name: string
  readonly partitions: number
  readonly sources: readonly Source<unknown>[]
  readonly views: readonly View[]
  readonly effects: readonly EffectPlan[]
  readonly sinks: readonly Sink[]
  readonly scout: () => Scout | undefined
  readonly input: Input
  readonly options: ProcessorOptions<Sources>
}

const trimEveryMs = 10_000

class Processor implements RunningUnit {
  readonly #host: UnitContext<Config>
  readonly #plan: ProcessorPlan
  readonly #tasks = new Map<number, Task>()
  readonly #finished = Promise.withResolvers<void>()
  #outputs: readonly (readonly ViewPart[])[] = []
  #copies: Copies | undefined
  #assignment: Assignment | undefined
  #stopAnswering: (() => void) | undefined
  #trimTimer: NodeJS.Timeout | undefined
  #trimmed = 0
  #stopping: Promise<void> | undefined

  constructor(host: UnitContext<Config>, plan: ProcessorPlan) {
    this.#host = host
    this.#plan = plan
    this.#finished.promise.catch(() => undefined) // the host may not look
  }

  get done(): Promise<void> {
    return this.#finished.promise
  }

  async start(): Promise<void> {
    const { name, partitions, views, input, options } = this.#plan
    const { bus, instance, log } = this.#host
    await input.ensure(bus)
    this.#outputs = await Promise.all(views.map((view) => ensureParts(bus, view, partitions)))
    const copied = views.flatMap((view, i) => copiesOf(bus, view, this.#outputs[i]!))
    this.#copies = new Copies(bus, log, [...input.copies(bus), ...copied], () => this.#tasks.has(0))
    this.#assignment = await Assignment.join(bus, {
      processor: name,
      instance,
      partitions,
      log,
      termMs: options.termMs ?? 2_000,
      assign: (partition) => this.#assign(partition),
      revoke: (partition) => this.#revoke(partition),
      lowWatermarks: () =>
        Object.fromEntries([...this.#tasks].map(([partition, task]) => [partition, task.lowWatermark])),
    })
    void this.#assignment.ended.then(() => this.#finished.resolve())
    this.#stopAnswering = answerInspections(bus, name, () => this.inspect())
    this.#trimTimer = setInterval(() => void this.#trim(), trimEveryMs)
    if (this.#tasks.size === 0) log.info(`processor '${name}' stands by: others run its ${partitions} partitions`)
  }

  async #assign(partition: number): Promise<void> {
    const { name, partitions, input, sources, views, effects, sinks, scout, options } = this.#plan
    const { bus, log, config } = this.#host
    const task = new Task({
      bus,
      log,
      processor: name,
      partition,
      partitions,
      input,
      sources,
      views,
      outputs: this.#outputs.map((parts) => parts[partition]!),
      effects,
      sinks,
      scout: scout(),
      ...spanOf(config),
      checkpointMs: options.checkpointMs ?? 1_000,
      maxPending: options.maxPending ?? 5_000,
      ...(options.maxKeys === undefined ? {} : { maxKeys: options.maxKeys }),
      ...(options.keysInMemory === undefined ? {} : { keysInMemory: options.keysInMemory }),
      onEnd: (ended) => void this.#assignment?.mark(partition, ended).catch(() => undefined),
      onFailure: (error) => void this.#failed(partition, task, error),
    })
    this.#tasks.set(partition, task)
    try {
      await task.start()
    } catch (error) {
      this.#tasks.delete(partition)
      await task.drain()
      throw error
    }
  }

  async #revoke(partition: number): Promise<void> {
    const task = this.#tasks.get(partition)
    this.#tasks.delete(partition)
    await task?.drain()
  }

  /** One that was replaced steps aside; anything else is for the host to restart. */
  async #failed(partition: number, task: Task, error: unknown): Promise<void> {
    const { log } = this.#host
    if (this.#tasks.get(partition) !== task) return
    if (error instanceof MyelinError && error.code === 'WRONG_SEQUENCE' && this.#host.bus.connected) {
      log.warn({ code: error.code }, error.message)
      await this.#revoke(partition)
      await this.#assignment?.dropped(partition).catch(() => undefined)
      return
    }
    log.error({ err: error }, `processor '${this.#plan.name}' failed: ${messageOf(error)}`)
    this.#finished.reject(error)
  }

  /** What the server copied for this processor and nobody needs any more. */
  async #trim(): Promise<void> {
    const lowWatermark = this.#assignment?.lowWatermark ?? 0
    if (lowWatermark <= this.#trimmed || !this.#tasks.has(0)) return
    this.#trimmed = lowWatermark
    await this.#plan.input.trim(this.#host.bus, lowWatermark).catch((error) => {
      this.#host.log.warn({ err: error }, `${this.#plan.input.stream} was not trimmed`)
    })
  }

  get checks() {
    return this.#copies?.checks ?? {}
  }

  vitals(): Vitals {
    const all = [...this.#tasks.values()].map((task) => task.vitals())
    const total = (key: 'handled' | 'errors' | 'lag') => all.reduce((sum, vitals) => sum + (vitals[key] ?? 0), 0)
    return { handled: total('handled'), errors: total('errors'), lag: total('lag') + (this.#copies?.lag ?? 0) }
  }

  stats(): Record<string, number> {
    const all = [...this.#tasks.values()].map((task) => task.status())
    const total = (key: NumericKey) => all.reduce((sum, status) => sum + status[key], 0)
    return {
      ...Object.fromEntries(summed.map((key) => [key, total(key)])),
      position: Math.max(0, ...all.map(({ position }) => position)),
      partitions: all.length,
      ended: Number(all.length > 0 && all.every(({ ended }) => ended)),
    }
  }

  inspect(): Inspection {
    const { input, sources, views, partitions } = this.#plan
    return {
      instance: this.#host.instance,
      members: this.#assignment?.members ?? 0,
      reads: sources.map(({ stream, subject, everywhere }) => ({
        stream,
        subject,
        ...(everywhere ? { everywhere } : {}),
      })),
      input: input.stream,
      views: views.map(({ name }) => name),
      partitionCount: partitions,
      copies: this.#copies?.status() ?? [],
      partitions: [...this.#tasks].map(([partition, task]) => ({
        ...task.status(),
        subjects: [input.subject(partition)],
      })),
    }
  }

  drain(): Promise<void> {
    this.#stopping ??= (async () => {
      clearInterval(this.#trimTimer)
      this.#copies?.stop()
      this.#stopAnswering?.()
      try {
        await this.#assignment?.leave()
      } finally {
        await Promise.all([...this.#tasks.keys()].map((partition) => this.#revoke(partition)))
      }
    })()
    return this.#stopping
  }
}

const summed = ['in', 'out', 'late', 'rejected', 'effects', 'effectDuplicates', 'replayed', 'open', 'keys'] as const
type NumericKey = (typeof summed)[number]
