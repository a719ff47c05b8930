// What is kept once per connection, and goes with it.
import type { Bus } from './bus.ts'

/**
 * Makes a thing for each connection when it is first asked for.
 * @example
 * const counters = perConnection(() => new Map<string, number>())
 * counters(bus).set('asked', 1)
 */
export function perConnection<Thing extends object>(make: (bus: Bus) => Thing): (bus: Bus) => Thing {
  const made = new WeakMap<Bus, Thing>()
  return (bus) => {
    let thing = made.get(bus)
    if (!thing) {
      thing = make(bus)
      made.set(bus, thing)
    }
    return thing
  }
}
