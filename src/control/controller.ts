// The controller as a unit: several may run, one leads. It tells the fleet's changes as events and carries out rollouts.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bus, Lease, messageOf } from '../bus/internal.ts'
import { announceFleet, type FleetChange, fleet } from '../heartbeat/index.ts'
import { defineUnit, type Logger, type Opened, openAll, type Unit } from '../unit/internal.ts'
import { carryOut } from './carry-out.ts'
import { DesiredStates } from './desired.ts'
import { announceDrift } from './drift.ts'
import { Rollouts } from './rollout.ts'

const againMs = 1_000
/** Longer than a lease lasts and than it takes to tell death; ids make one event of what two leaders tell. */
const recentMs = 10_000
const maxRecent = 10_000

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
export function stand(
  bus: Bus,
  holder: string,
  log: Logger,
): Promise<{ readonly leads: boolean; stop(): Promise<void> }> {
  return openAll((opened) => standing(bus, holder, log, opened))
}

async function standing(bus: Bus, holder: string, log: Logger, opened: Opened) {
  const watching = await fleet(bus, { log })
  opened.add(() => watching.close())
  // what happened while nobody led: a machine may take a controller and what it told of down together
  const recent: { readonly change: FleetChange; readonly at: number }[] = []
  watching.on((change) => {
    const now = performance.now()
    recent.push({ change, at: now })
    while (recent.length > maxRecent || now - recent[0]!.at > recentMs) recent.shift()
  })
  const rollouts = await Rollouts.open(bus)
  const states = await DesiredStates.open(bus)
  const lease = await Lease.stand(bus, {
    name: 'controller',
    holder,
    onLead: (token, signal) => {
      log.info({ fencing: token }, 'leads') // a field called token would be taken for a secret
      const stopTelling = announceFleet(
        bus,
        watching,
        (error) => log.warn({ err: error }, 'a fleet event was not published'),
        recent.map(({ change }) => change),
      )
      const stopLooking = announceDrift(bus, watching, states, log)
      const underWay = new Set<string>()
      const again = new Set<string>()
      const carry = async (id: string) => {
        again.add(id) // asked for something, maybe while it stops
        if (underWay.has(id)) return
        underWay.add(id)
        while (again.delete(id) && !signal.aborted) {
          await carryOut(bus, watching, rollouts, id, { token, signal }).catch(async (error) => {
            log.error({ err: error, rollout: id }, `rollout ${id} is tried again: ${messageOf(error)}`)
            again.add(id)
            await sleep(againMs)
          })
        }
        underWay.delete(id)
      }
      // a leader that cannot see the rollouts would leave them as they are
      const watch = async () => {
        while (!signal.aborted) {
          const lost = Promise.withResolvers<void>()
          try {
            const stop = await rollouts.watch(({ id, phase }) => {
              if (phase === 'running' || phase === 'paused') void carry(id)
            }, lost.reject)
            signal.addEventListener('abort', () => lost.resolve())
            if (!signal.aborted) await lost.promise
            stop()
          } catch (error) {
            log.warn({ err: error }, `rollouts cannot be watched, tried again: ${messageOf(error)}`)
            await sleep(againMs)
          }
        }
      }
      void watch()
      signal.addEventListener('abort', () => {
        log.info({ fencing: token }, 'leads no more')
        stopTelling()
        stopLooking()
      })
    },
  })
  opened.add(() => lease.stop())
  return {
    get leads() {
      return lease.token !== undefined
    },
    stop: () => opened.close(),
  }
}
