// What a unit of this process starts is its own: the subscriptions that its start makes end when the start fails, and
// what throws later on where nobody catches it, also in a subscription's callback, is told to the unit and not to Node.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { BusSubscription } from './bus.ts'

const tracking = new AsyncLocalStorage<{ into: Set<BusSubscription> | undefined }>()
const owners = new AsyncLocalStorage<(error: unknown) => void>()

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

/** Runs `work`, and everything that it starts, as somebody's: `fail` is theirs. */
export function asOwner<Result>(fail: (error: unknown) => void, work: () => Result): Result {
  return owners.run(fail, work)
}

/** Whoever started what is running now. */
export function ownerOfErrors(): ((error: unknown) => void) | undefined {
  return owners.getStore()
}

/**
 * For `bus.subscribe`: messages come in the connection's context, callbacks run in that of whoever subscribed.
 * Hot path: 60 ns a message, and nothing for subscribers that nobody owns.
 */
export function inOwnContext<Message>(handler: (message: Message) => unknown): (message: Message) => unknown {
  if (!owners.getStore()) return handler
  const run = AsyncLocalStorage.snapshot()
  return (message) => run(handler, message)
}
