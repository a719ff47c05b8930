// What a handler knows of the work it does: its state, whose call it is, until when, and how to call on from there.
import {
  type Bus,
  Deadline,
  deadlines,
  failure,
  type HeaderReader,
  header,
  now,
  type TraceContext,
  traceOf,
} from '../bus/internal.ts'
import type { Contract, ContractDefinition } from '../contract/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { client } from './client.ts'
import { DeclaredError } from './errors.ts'
import type { Guards } from './resilience.ts'
import type { Client } from './types.ts'

/** What all handlers of one running service share. */
export interface Scope<State = unknown, Config = unknown> {
  readonly bus: Bus
  readonly state: State
  readonly config: Config
  readonly log: Logger
  readonly service: string
  readonly instance: string
  /** Breakers, bulkheads and retry budgets towards the contracts that this service calls. */
  readonly guards: Guards
}

/** The context of one call, job or event. */
export class HandlerContext<State = unknown, Config = unknown> extends Deadline {
  readonly #scope: Scope<State, Config>
  #controller: AbortController | undefined
  #ended: 'deadline' | 'cancelled' | 'done' | undefined
  /** Absolute end of this piece of work, in ms of `now()` of `myelin/bus`; calls made through `client` inherit it. `Infinity`: none. */
  readonly deadline: number
  readonly headers: HeaderReader
  readonly subject: string
  /** 1 for the first try; jobs and durable events count up. */
  readonly attempt: number
  /** @internal the span's context, where tracing is on */
  span: TraceContext | undefined
  /** @internal called once, when the deadline passes or the caller cancels */
  onEnd: ((why: 'deadline' | 'cancelled') => void) | undefined

  constructor(scope: Scope<State, Config>, headers: HeaderReader, subject: string, deadline: number, attempt = 1) {
    super()
    this.#scope = scope
    this.headers = headers
    this.subject = subject
    this.deadline = deadline
    this.attempt = attempt
    if (deadline !== Number.POSITIVE_INFINITY) deadlines.add(this)
  }

  get bus(): Bus {
    return this.#scope.bus
  }
  get state(): State {
    return this.#scope.state
  }
  get config(): Config {
    return this.#scope.config
  }
  get log(): Logger {
    const trace = this.trace?.traceparent
    return trace ? this.#scope.log.child({ traceparent: trace }) : this.#scope.log
  }
  /** Who called, as it says itself; what may be trusted is a matter of the server's permissions. */
  get caller(): string | undefined {
    return this.headers.get(header.caller)
  }
  get tenant(): string | undefined {
    return this.headers.get(header.tenant)
  }
  get trace(): TraceContext | undefined {
    return this.span ?? traceOf(this.headers)
  }
  /** Milliseconds left. */
  get remainingMs(): number {
    return this.deadline - now()
  }
  /** Aborted when the caller cancels or the deadline passes. Made on first use: an AbortController costs 1 µs. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#ended === 'deadline' || this.#ended === 'cancelled') this.#abort(this.#ended)
    }
    return this.#controller.signal
  }

  /** A client whose calls inherit this work's deadline, trace and tenant, and are cancelled with it. */
  readonly client = <Definition extends ContractDefinition>(contract: Contract<Definition>): Client<Definition> => {
    const tenant = this.tenant
    return client(this.#scope.bus, contract, {
      caller: this.#scope.service,
      ...(tenant === undefined ? {} : { tenant }),
      within: this,
      guards: this.#scope.guards,
    })
  }

  /** Ends the work with an error that the contract declares. */
  readonly fail = (code: string, data?: unknown, message?: string): never => {
    // svc.airports.get: who answers that is a part of what went wrong
    const [, service, name] = this.subject.split('.')
    throw new DeclaredError(code, message ?? `${service}.${name} answered ${code}`, { data })
  }

  onDeadline(): void {
    this.end('deadline')
  }

  /** @internal */
  end(why: 'deadline' | 'cancelled' | 'done'): void {
    if (this.#ended) return
    this.#ended = why
    deadlines.cancel(this)
    if (why === 'done') return
    if (this.#controller) this.#abort(why)
    this.onEnd?.(why)
  }
  /** @internal */
  get ended(): boolean {
    return this.#ended !== undefined
  }

  #abort(why: 'deadline' | 'cancelled'): void {
    this.#controller?.abort(
      why === 'deadline'
        ? failure('DEADLINE_EXCEEDED', `the deadline of ${this.subject} passed`)
        : failure('CANCELLED', `the caller of ${this.subject} cancelled`),
    )
  }
}
