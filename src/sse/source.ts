// What may be offered to browsers.
import { type Bus, failure } from '../bus/index.ts'
import { type Contract, eventStream, eventSubjects } from '../contract/index.ts'
import { ensureContractStreams } from '../service/index.ts'
import { ensureView, type View, viewSubject } from '../stream/index.ts'
import type { SlowClientPolicy } from './client.ts'

/** A view or an event of a contract, as what a topic reads. */
export interface SseSource {
  readonly subject: string
  /** Absent: not kept, from now on only. */
  readonly stream?: string
  /** New clients first get the latest of each key. */
  readonly snapshot: boolean
  readonly policy: SlowClientPolicy
  ensure(bus: Bus): Promise<void>
}

/** A processor's view: the latest row of each key, then every new one. Slow clients skip rows that a newer one replaced. */
export function fromView(view: View): SseSource {
  return {
    subject: viewSubject(view.name, '*'),
    stream: view.spec.name,
    snapshot: true,
    policy: 'coalesce',
    ensure: (bus) => ensureView(bus, view),
  }
}

/**
 * An event of a contract, new ones only. Durable: a client that comes back gets what it missed.
 * @throws MyelinError UNKNOWN_ENDPOINT
 */
export function fromEvent(contract: Contract, name: string): SseSource {
  const event = contract.definition.events?.[name]
  if (!event) {
    const offered = Object.keys(contract.definition.events ?? {}).join(', ') || 'none'
    throw failure('UNKNOWN_ENDPOINT', `contract ${contract.name} has no event "${name}"; events: ${offered}`)
  }
  return {
    subject: eventSubjects(contract.name, name, event.key !== undefined),
    snapshot: false,
    ...(event.durable ? { stream: eventStream(contract.name, name), policy: 'disconnect' } : { policy: 'drop-oldest' }),
    ensure: (bus) => ensureContractStreams(bus, contract),
  }
}
