// client(): from a contract to typed calls, events and jobs.
import { type Bus, codecs, header, headerLine, now } from '../bus/internal.ts'
import { type Contract, type ContractDefinition, type EndpointDefinition, isStream } from '../contract/internal.ts'
import { CallLimits } from './bounded.ts'
import { type CallOptions, callOnce, type Target, type Within } from './call.ts'
import { DeclaredError } from './errors.ts'
import { eventClient } from './events.ts'
import { gatherFrom } from './gather.ts'
import { jobClient } from './jobs.ts'
import { type Guard, Guards } from './resilience.ts'
import { openStream } from './stream-call.ts'
import type { Client } from './types.ts'

/** Wraps every call of a client: look at it, change its options, time it, answer it from elsewhere. */
export type ClientMiddleware = (
  call: { readonly service: string; readonly endpoint: string; readonly input: unknown; options: CallOptions },
  next: () => Promise<unknown>,
) => Promise<unknown>

export interface ClientOptions {
  /** Who calls, sent to services as `Myelin-Caller`. Default: the connection's name. */
  caller?: string
  /** On whose behalf (`Myelin-Tenant`). */
  tenant?: string
  /** Around every unary call, outermost first. */
  use?: readonly ClientMiddleware[]
  /** Parse replies with the contract's schema. Default true: a service is not trusted to keep its contract. */
  checkReplies?: boolean
  /** Retries per call in the long run, for idempotent endpoints. Default 0.2. */
  retryRatio?: number
  /** @internal the work the calls are made in */
  within?: Within
  /** @internal policies that are shared with other clients of the same program */
  guards?: Guards
}

/**
 * A typed client of a contract. Cheap to make; holds no connection of its own.
 *
 * @example
 * const api = client(bus, airports)
 * const atl = await api.get({ iata: 'ATL' }, { timeoutMs: 200 })
 * for await (const hit of api.search({ text: 'san' })) console.log(hit.city)
 * await api.closed.publish({ iata: 'ATL', until })
 */
export function client<Definition extends ContractDefinition>(
  bus: Bus,
  contract: Contract<Definition>,
  options: ClientOptions = {},
): Client<Definition> {
  const lines = identityLines(options)
  const guards = (options.guards ?? new Guards(options.retryRatio)).of(contract.name, contract.definition)
  const members: Record<string, unknown> = {}
  const { endpoints = {}, events = {}, jobs = {} } = contract.definition
  for (const [name, endpoint] of Object.entries(endpoints)) {
    members[name] = endpointClient(targetOf(bus, contract, name, endpoint, lines, options), guards.get(name), options)
  }
  for (const [name, event] of Object.entries(events)) {
    members[name] = eventClient(bus, contract, name, event, lines, options.within)
  }
  for (const [name, job] of Object.entries(jobs)) {
    members[name] = jobClient(bus, contract, name, job, lines, options.within)
  }
  return members as Client<Definition>
}

function identityLines({ caller, tenant }: ClientOptions): string {
  return (
    (caller === undefined ? '' : headerLine(header.caller, caller)) +
    (tenant === undefined ? '' : headerLine(header.tenant, tenant))
  )
}

function targetOf(
  bus: Bus,
  contract: Contract,
  name: string,
  endpoint: EndpointDefinition,
  lines: string,
  options: ClientOptions,
): Target {
  return {
    bus,
    service: contract.name,
    name,
    endpoint,
    out: isStream(endpoint.out) ? endpoint.out.stream : endpoint.out,
    lines: bus.codec === codecs.json ? lines : lines + headerLine(header.contentType, bus.codec.contentType),
    timeoutMs: endpoint.timeoutMs ?? 5_000,
    codec: bus.codec,
    checkReplies: options.checkReplies ?? true,
  }
}

function endpointClient(target: Target, guard: Guard | undefined, options: ClientOptions): unknown {
  const { within, use = [] } = options
  if (isStream(target.endpoint.out))
    return (input: unknown, given?: CallOptions) => openStream(target, input, given, within)

  let call = (input: unknown, given?: CallOptions): Promise<unknown> => callOnce(target, input, given, within)
  if (guard) {
    const bare = call
    call = (input, given) => {
      // all attempts share one deadline
      const deadline = now() + (given?.timeoutMs ?? target.timeoutMs)
      const once: CallOptions = { ...given, deadline: Math.min(given?.deadline ?? deadline, deadline) }
      return guard(
        (signal) =>
          bare(
            input,
            signal ? { ...once, signal: given?.signal ? AbortSignal.any([given.signal, signal]) : signal } : once,
          ),
        new CallLimits(once.deadline!, given?.signal, within),
      )
    }
  }
  for (const middleware of [...use].reverse()) {
    const inner = call
    call = (input, given) => {
      const details = { service: target.service, endpoint: target.name, input, options: { ...given } }
      return middleware(details, () => inner(details.input, details.options))
    }
  }
  return Object.assign(call, {
    try: (input: unknown, given?: CallOptions) =>
      call(input, given).then(
        (value) => ({ ok: true, value }),
        (error) => {
          if (error instanceof DeclaredError) return { ok: false, error }
          throw error
        },
      ),
    gather: (input: unknown, given = {}) => gatherFrom(target, input, given, within),
  })
}
