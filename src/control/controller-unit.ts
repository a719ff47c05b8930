// The controller as a unit: several may run, one leads. It tells the fleet's changes as events and carries out rollouts.
import { type Bus, messageOf } from '../bus/index.ts'
import { announceFleet, fleet } from '../heartbeat/index.ts'
import { defineUnit, type Logger, type Unit } from '../unit/index.ts'
import { DesiredStates } from './desired.ts'
import { announceDrift } from './drift.ts'
import { Lease } from './lease.ts'
import { carryOut, Rollouts } from './rollout.ts'

/**
 * A unit that leads, or stands by to.
 * @example export default controller()
 */
export function controller(): Unit {
  return defineUnit({
    kind: 'controller',
    name: 'controller',
    description: 'Tells what happens in the fleet and carries out rollouts; several run, one leads.',
    async start({ bus, instance, log }) {
      const running = await stand(bus, instance, log)
      return {
        drain: () => running.stop(),
        stats: () => ({ leads: running.leads ? 1 : 0 }),
      }
    },
  })
}

/** Stands as a candidate for leadership in this process. */
export async function stand(
  bus: Bus,
  holder: string,
  log: Logger,
): Promise<{ readonly leads: boolean; stop(): Promise<void> }> {
  const watching = await fleet(bus, { log })
  const rollouts = await Rollouts.open(bus)
  const states = await DesiredStates.open(bus)
  const lease = await Lease.stand(bus, {
    name: 'controller',
    holder,
    onLead: (token, signal) => {
      log.info({ token }, 'leads')
      const stopTelling = announceFleet(bus, watching, (error) =>
        log.warn({ err: error }, 'a fleet event was not published'),
      )
      const stopLooking = announceDrift(bus, watching, states, log)
      const underWay = new Set<string>()
      const again = new Set<string>()
      const carry = async (id: string) => {
        if (underWay.has(id)) {
          again.add(id) // asked for something while it stopped
          return
        }
        if (signal.aborted) return
        underWay.add(id)
        await carryOut(bus, watching, rollouts, id, { token, signal }).catch((error) =>
          log.error({ err: error, rollout: id }, `rollout ${id}: ${messageOf(error)}`),
        )
        underWay.delete(id)
        if (again.delete(id)) await carry(id)
      }
      const stopWatching = rollouts.watch((rollout) => {
        if (rollout.phase === 'running' || rollout.phase === 'paused') void carry(rollout.id)
      })
      signal.addEventListener('abort', () => {
        log.info({ token }, 'leads no more')
        stopTelling()
        stopLooking()
        void stopWatching.then((stop) => stop())
      })
    },
  })
  return {
    get leads() {
      return lease.token !== undefined
    },
    async stop() {
      await lease.stop()
      await watching.close()
    },
  }
}
