// A service's side of publish/subscribe: `on(contract, event, options, handler)` among its handlers.
import {
  type Bus,
  codeAndMessage,
  consumerName,
  ensureOnce,
  failure,
  joinedName,
  messagingSpan,
  ownedStream,
  queueName,
  readHeaders,
  readPayload,
  traceOf,
  tracingOn,
} from '../bus/internal.ts'
import {
  type Contract,
  type ContractDefinition,
  type Duration,
  durationMs,
  eventSubject,
  eventSubjects,
  isEndOfInput,
  type OutputOf,
  parse,
  subjectToken,
} from '../contract/internal.ts'
import { openAll } from '../unit/internal.ts'
import { HandlerContext, type Scope } from './context.ts'
import type { KeyFor, Without } from './events.ts'
import type { Handle, Middleware } from './middleware.ts'
import { withMiddleware } from './middleware.ts'
import { deadLetterSpec, eventStreamSpec } from './streams.ts'
import { Worker } from './worker.ts'

export interface OnOptions {
  /** Name of the group that shares the events. Default: the service's name. `false`: every instance gets every event. */
  group?: string | false
  /** Where a new group begins, durable events only. Default `new`. */
  from?: 'start' | 'new'
  key?: string
  /** Handlers at once in one instance; 1 keeps the order of the stream. Default 1. */
  concurrency?: number
  /** Tries before the event becomes a dead letter. Default 5. */
  attempts?: number
  backoff?: { from: Duration; to: Duration }
  lease?: Duration
}

/** The options that an event can have: what a durable event, a group or a key is needed for does not compile without. */
type OptionsFor<Event> = 'durable' extends keyof Event
  ? ((OnOptions & { group?: string }) | (Pick<OnOptions, 'key'> & { group: false } & Without<StreamOption>)) &
      KeyFor<Event>
  : Pick<OnOptions, 'group' | 'key'> & Without<StreamOption> & KeyFor<Event>
/** Options of the consumer that a durable event's group has. */
type StreamOption = (typeof streamOptions)[number]
const streamOptions = [
  'from',
  'concurrency',
  'attempts',
  'backoff',
  'lease',
] as const satisfies readonly (keyof OnOptions)[]

/** An event that a service listens to; made by {@link on}. */
export interface EventListener<in State = never, in Config = never> {
  readonly contract: Contract
  readonly event: string
  readonly options: OnOptions
  readonly handler: (payload: never, context: HandlerContext<State, Config>) => unknown
}

type EventName<Definition extends ContractDefinition> = keyof NonNullable<Definition['events']> & string
type Payload<Definition extends ContractDefinition, Name extends EventName<Definition>> = NonNullable<
  Definition['events']
>[Name] extends { payload: infer S }
  ? OutputOf<S>
  : never

/**
 * Listens to an event, as one of a service's `on`. Durable events are handled at least once, with backoff and dead
 * letters; others at most once. Options that an event cannot have do not compile. Written as a function, `(on) => on(…)`,
 * the handler knows the types of the service's `state` and `config`.
 *
 * @example
 * service(crew, {
 *   setup: () => loadRoster(),
 *   on: [(on) => on(airports, 'closed', { from: 'start' }, ({ iata }, { state }) => state.standBy(iata))],
 * })
 */
export function on<
  Definition extends ContractDefinition,
  Name extends EventName<Definition>,
  State = unknown,
  Config = unknown,
>(
  contract: Contract<Definition>,
  event: Name,
  options: OptionsFor<NonNullable<Definition['events']>[Name]>,
  handler: (payload: Payload<Definition, Name>, context: HandlerContext<State, Config>) => unknown,
): EventListener<State, Config> {
  return { contract, event, options, handler }
}

/** {@link on} for the handlers of one service: their context has its state and configuration. */
export type Listen<State, Config> = <Definition extends ContractDefinition, Name extends EventName<Definition>>(
  contract: Contract<Definition>,
  event: Name,
  options: OptionsFor<NonNullable<Definition['events']>[Name]>,
  handler: (payload: Payload<Definition, Name>, context: HandlerContext<State, Config>) => unknown,
) => EventListener<State, Config>

/** A started listener. */
export interface RunningListener {
  drain(): Promise<void>
  abort(): void
  stats(): Record<string, number>
}

export async function listen(
  scope: Scope,
  listener: EventListener,
  middleware: readonly Middleware[],
): Promise<RunningListener> {
  const { contract, event: name, options } = listener
  const event = contract.definition.events?.[name]
  const handle = withMiddleware('event', `${contract.name}.${name}`, middleware, listener.handler as Handle)
  if (!event?.durable || options.group === false) return listenCore(scope.bus, scope, listener, handle)

  const where = `event ${contract.name}.${name}`
  const group = consumerName(options.group ?? scope.service, `${where}: group`)
  const spec = eventStreamSpec(contract, name)
  const subject = eventSubject(contract.name, name)
  const redrive = ownedStream('redrive', scope.service)
  const redriveSubject = `redrive.${scope.service}.${contract.name}.${name}.${group}`
  await ensureOnce(scope.bus, spec)
  await ensureOnce(scope.bus, deadLetterSpec(scope.service))
  await ensureOnce(scope.bus, {
    ...redrive,
    subjects: [`redrive.${scope.service}.>`],
    retention: 'workqueue',
    description: `dead letters of ${scope.service} on their way back`,
  })
  const common = {
    scope,
    schema: event.payload,
    where,
    destination: subject,
    handle,
    concurrency: options.concurrency ?? 1,
    attempts: options.attempts ?? 5,
    backoffMs: {
      from: durationMs(options.backoff?.from ?? '200ms', where),
      to: durationMs(options.backoff?.to ?? '30s', where),
    },
    leaseMs: durationMs(options.lease ?? '30s', where),
    timeoutMs: Number.POSITIVE_INFINITY,
    deadLetter: {
      service: scope.service,
      kind: 'event',
      name: joinedName(contract.name, name),
      consumer: group,
      stream: spec.name,
      redriveSubject: () => redriveSubject,
    },
  } as const
  const workers = [
    new Worker({
      ...common,
      stream: spec.name,
      subjects: [subjectOf(listener)],
      durable: group,
      from: options.from ?? 'new',
    }),
    // only this group sees what is put back: others handled it long ago
    new Worker({
      ...common,
      stream: redrive.name,
      subjects: [redriveSubject],
      durable: joinedName(contract.name, name, group),
    }),
  ]
  await openAll(async (opened) => {
    for (const worker of workers) {
      opened.add(() => worker.drain())
      await worker.start()
    }
  })
  return {
    drain: async () => {
      await Promise.all(workers.map((worker) => worker.drain()))
    },
    abort: () => workers.forEach((worker) => void worker.abort()),
    stats: () => sum(workers.map(({ stats }) => ({ ...stats }))),
  }
}

/** The subjects of a listener's events: all, or those of one key. */
function subjectOf({ contract, event: name, options }: EventListener): string {
  const keyed = contract.definition.events?.[name]?.key !== undefined
  if (options.key === undefined) return eventSubjects(contract.name, name, keyed)
  const where = `event ${contract.name}.${name}`
  if (!keyed) throw failure('INVALID_OPTION', `${where} has no key to pick by`)
  return eventSubject(contract.name, name, subjectToken(options.key, `${where}: key`))
}

function listenCore(bus: Bus, scope: Scope, listener: EventListener, handle: Handle): RunningListener {
  const { contract, event: name, options } = listener
  const event = contract.definition.events?.[name]
  const destination = eventSubject(contract.name, name)
  const where = `event ${contract.name}.${name}`
  const useless = streamOptions.find((option) => options[option] !== undefined)
  if (useless) {
    const why = event?.durable
      ? 'with group: false every instance gets every event as it comes; leave the option out, or name a group'
      : 'only a durable event is kept, tried again and replayed; leave the option out, or declare the event durable'
    throw failure('INVALID_OPTION', `${where}: ${useless}: ${why}`)
  }
  const limit = 1_000
  const stats = { done: 0, failed: 0, dropped: 0 }
  let running = 0
  let idle: (() => void) | undefined
  const subscription = bus.subscribe(
    subjectOf(listener),
    (message) => {
      const headers = readHeaders(message)
      if (message.data.length === 0 && isEndOfInput({ data: message.data, headers })) return
      if (running >= limit) {
        stats.dropped += 1
        if (stats.dropped % 1_000 === 1)
          bus.emit({ type: 'slow-consumer', subject: message.subject, dropped: stats.dropped })
        return
      }
      running += 1
      void (async () => {
        const context = new HandlerContext(scope, headers, message.subject, Number.POSITIVE_INFINITY)
        const span = tracingOn()
          ? messagingSpan(
              'process',
              { destination, subject: message.subject, id: headers.get('ce-id') },
              traceOf(headers),
            )
          : undefined
        if (span) context.span = span.trace
        const work = async () => {
          const payload = readPayload(headers, message.data)
          await handle(await parse(event!.payload, payload, 'INVALID_INPUT', where), context)
        }
        try {
          await (span ? span.run(work) : work())
          span?.end()
          stats.done += 1
        } catch (error) {
          span?.end(codeAndMessage(error))
          stats.failed += 1
          scope.log.error({ err: error }, `${where} could not be handled`)
        }
        context.end('done')
        running -= 1
        if (running === 0) idle?.()
      })()
    },
    options.group === false ? {} : { queue: queueName(options.group ?? scope.service, `${where}: group`) },
  )
  return {
    drain: async () => {
      await subscription.drain()
      if (running > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve
        })
      }
    },
    abort: () => undefined,
    stats: () => ({ ...stats }),
  }
}

export function sum(parts: Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const part of parts) for (const [key, value] of Object.entries(part)) total[key] = (total[key] ?? 0) + value
  return total
}
