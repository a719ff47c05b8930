// Errors that units of this process throw where nobody catches them: in a timer, a socket's event, a promise without an
// owner. Node ends the process for them, and with it every other unit; here they end the unit that they come from.
import { asOwner, ownerOfErrors } from '../bus/internal.ts'

let listening = false

/** Runs `start`; `fail` gets whatever is thrown, now or later, by what it started and nobody caught. */
export function ownedBy<Result>(fail: (error: unknown) => void, start: () => Result): Result {
  if (!listening) {
    listening = true
    // a rejection reaches the second one only where a program listens for rejections itself
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(event, (error: unknown) => {
        const failed = ownerOfErrors()
        if (failed) return failed(error)
        // nobody's: what Node does without a listener, unless the program has one of its own
        if (process.listenerCount(event) > 1) return
        console.error(error)
        process.exit(1)
      })
    }
  }
  return asOwner(fail, start)
}
