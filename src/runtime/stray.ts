// Errors that units of this process throw where nobody catches them: in a timer, a socket's event, a promise without an
// owner. Node ends the process for them, and with it every other unit; here they end the unit that they come from.
import { AsyncLocalStorage } from 'node:async_hooks'

const owner = new AsyncLocalStorage<(error: unknown) => void>()
let listening = false

/** Runs `start`; `fail` gets whatever is thrown, now or later, by what it started and nobody caught. */
export function ownedBy<Result>(fail: (error: unknown) => void, start: () => Result): Result {
  if (!listening) {
    listening = true
    process.on('uncaughtException', (error) => {
      const failed = owner.getStore()
      if (failed) return failed(error)
      // nobody's: what Node does without a listener, unless the program has one of its own
      if (process.listenerCount('uncaughtException') > 1) return
      console.error(error)
      process.exit(1)
    })
  }
  return owner.run(fail, start)
}
