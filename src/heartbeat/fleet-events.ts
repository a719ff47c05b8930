// What happens in the fleet as events, for those who do not watch themselves: `evt.fleet.<transition>`.

import { z } from 'zod'
import type { Bus } from '../bus/internal.ts'
import { anyContract } from '../contract/internal.ts'
import { client } from '../service/index.ts'
import type { Fleet, FleetChange } from './fleet.ts'

const Change = z.object({
  site: z.string(),
  unit: z.string(),
  instance: z.string(),
  state: z.string(),
  at: z.string(),
  silentMs: z.number(),
  reason: z.string().optional(),
})
const durable = { maxAge: '7d', maxMessages: 100_000, discard: 'old', dedupWindow: '2m' } as const
const event = (description: string) => ({ description, payload: Change, key: 'unit', durable })

/** The fleet's events. Several watchers may tell of the same change: its id makes it one event. */
export const fleetEvents = anyContract('fleet', {
  version: '1.0.0',
  description: 'Instances that come, fall silent, return and leave.',
  events: {
    joined: event('An instance beat for the first time.'),
    suspect: event('An instance is later than it usually is.'),
    dead: event('An instance is silent for so long that it must be gone.'),
    back: event('An instance that was suspect or dead beats again.'),
    restarted: event('An instance began anew before anybody could miss it.'),
    left: event('An instance said goodbye.'),
  },
})

/** Publishes what a watcher sees, and what it saw before. Call the result to stop. */
export function announceFleet(
  bus: Bus,
  fleet: Fleet,
  onError: (error: unknown) => void,
  before: readonly FleetChange[] = [],
): () => void {
  const api = client(bus, fleetEvents)
  const announce = ({ transition, member }: FleetChange) => {
    const { site, unit, instance, state, startedAt, seq } = member.beat
    const payload = { site, unit, instance, state, at: new Date().toISOString(), silentMs: member.silentMs }
    // watchers agree on which beat was the last one, so they agree on the id
    const id = `${site}.${unit}.${instance}:${transition}:${startedAt}:${transition === 'joined' ? 0 : seq}`
    api[transition].publish(payload, { id }).catch(onError)
  }
  for (const change of before) announce(change)
  return fleet.on(announce)
}
