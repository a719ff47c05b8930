// Which subscriptions a piece of work makes, so that a start that fails can end them.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { BusSubscription } from './bus.ts'

const tracking = new AsyncLocalStorage<{ into: Set<BusSubscription> | undefined }>()

/** Adds every subscription that `work` makes until it settles, whatever it awaits meanwhile. */
export async function trackSubscriptions<Result>(
  into: Set<BusSubscription>,
  work: () => Promise<Result>,
): Promise<Result> {
  const scope: { into: Set<BusSubscription> | undefined } = { into }
  try {
    return await tracking.run(scope, work)
  } finally {
    scope.into = undefined // what it started lives on and subscribes for its own account
  }
}

/** For `bus.subscribe`: gives the subscription back. */
export function tracked(subscription: BusSubscription): BusSubscription {
  tracking.getStore()?.into?.add(subscription)
  return subscription
}
