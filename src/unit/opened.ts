// What a start has opened so far, and how to close it again. A start that fails closes all of it, newest first: a unit
// that is `failed` answers nothing, listens to nothing and keeps no state.
import { setTimeout as sleep } from 'node:timers/promises'
import { type BusSubscription, trackSubscriptions } from '../bus/internal.ts'

/** All of it together; what has not closed by then is left behind. */
const patienceMs = 8_000

/** What a start has opened so far; see {@link openAll}. */
export class Opened {
  readonly #closes: (() => unknown)[] = []
  #closing: Promise<void> | undefined

  /** Remembers how to close what was just opened, or what is about to be. */
  add(close: () => unknown): void {
    this.#closes.push(close)
  }

  /**
   * Closes everything once, newest first. What throws or hangs keeps nothing else from being closed; rejects with the
   * first that failed when all are closed.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  async #closeAll(): Promise<void> {
    const failed: unknown[] = []
    const patience = new AbortController()
    const late = sleep(patienceMs, undefined, { signal: patience.signal, ref: false }).catch(() => undefined)
    for (const close of this.#closes.reverse()) {
      const closed = (async () => close())().then(
        () => undefined,
        (error: unknown) => void failed.push(error),
      )
      await Promise.race([closed, late])
    }
    patience.abort()
    if (failed.length > 0) throw failed[0]
  }
}

/**
 * Opens things one after the other; when `open` rejects, what it had opened until then is closed, newest first, and the
 * rejection is passed on. Subscriptions that `open` made and said nothing about end as well.
 *
 * @example
 * start: (context) => openAll(async (opened) => {
 *   const database = await connectTo(context.config.url)
 *   opened.add(() => database.end())
 *   const subscription = context.bus.subscribe('orders', store)
 *   opened.add(() => subscription.drain())
 *   await context.bus.flush()
 *   return { drain: () => opened.close() }
 * })
 */
export async function openAll<Result>(open: (opened: Opened) => Promise<Result>): Promise<Result> {
  const opened = new Opened()
  const subscriptions = new Set<BusSubscription>()
  opened.add(() => {
    for (const subscription of subscriptions) subscription.unsubscribe()
  })
  try {
    return await trackSubscriptions(subscriptions, () => open(opened))
  } catch (error) {
    await opened.close().catch(() => undefined) // why it failed matters more than how the rest was closed
    throw error
  }
}

/** Waits for all of them, also when some fail: none must begin to work after it was given up. Rejects with the first. */
export async function allSettled<Result>(started: readonly Promise<Result>[]): Promise<Result[]> {
  const results = await Promise.allSettled(started)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}
