// One timer for all deadlines of a process: a hashed wheel (Varghese & Lauck, 1987) with O(1) start and cancel.
// Hot path: a Node timer per call costs about 1 µs and a heap of timers; linking into a slot costs 0.05 µs.
import { now } from './clock.ts'
import { asError, warn } from './report.ts'

const tickMs = 10
const slots = 1024 // one turn is about 10 s; later deadlines go round more than once

/** Something with an end. `onDeadline` is called once, at most about 20 ms late, never early. */
export abstract class Deadline {
  /** Absolute, milliseconds of `now()`. */
  abstract readonly deadline: number
  /** @internal neighbours in the wheel's slot */
  nextInSlot: Deadline | undefined
  /** @internal */
  previousInSlot: Deadline | undefined
  /** @internal */
  slot = -1
  abstract onDeadline(): void
}

class Wheel {
  readonly #slots: (Deadline | undefined)[] = new Array(slots)
  #size = 0
  #now = 0 // the tick up to which slots were visited
  #timer: NodeJS.Timeout | undefined
  #late = false

  add(entry: Deadline): void {
    if (entry.slot >= 0) this.cancel(entry)
    if (entry.deadline === Number.POSITIVE_INFINITY) return
    if (this.#size++ === 0) this.#start()
    const tick = Math.max(Math.ceil(entry.deadline / tickMs), this.#now + 1)
    const slot = tick % slots
    const head = this.#slots[slot]
    entry.slot = slot
    entry.previousInSlot = undefined
    entry.nextInSlot = head
    if (head) head.previousInSlot = entry
    this.#slots[slot] = entry
  }

  cancel(entry: Deadline): void {
    if (entry.slot < 0) return
    if (entry.previousInSlot) entry.previousInSlot.nextInSlot = entry.nextInSlot
    else this.#slots[entry.slot] = entry.nextInSlot
    if (entry.nextInSlot) entry.nextInSlot.previousInSlot = entry.previousInSlot
    entry.nextInSlot = undefined
    entry.previousInSlot = undefined
    entry.slot = -1
    this.#size -= 1
  }

  #start(): void {
    this.#now = Math.floor(now() / tickMs)
    this.#timer ??= setInterval(() => this.#tick(), tickMs)
  }

  #tick(): void {
    const tick = Math.floor(now() / tickMs)
    // A blocked event loop is not a slow peer: after a stall, one turn of the loop lets replies that already lie in the
    // socket's buffer come in before anything is declared late.
    if (tick - this.#now > 5 && !this.#late) {
      this.#late = true
      return
    }
    this.#late = false
    const from = Math.max(this.#now + 1, tick - slots + 1)
    this.#now = tick
    for (let visited = from; visited <= tick; visited++) this.#expire(visited % slots, tick)
    if (this.#size === 0 && this.#timer) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #expire(slot: number, tick: number): void {
    let entry = this.#slots[slot]
    while (entry) {
      const next: Deadline | undefined = entry.nextInSlot
      if (Math.ceil(entry.deadline / tickMs) <= tick) {
        this.cancel(entry)
        try {
          entry.onDeadline()
        } catch (thrown) {
          warn(asError(thrown), 'what follows a deadline') // and the others' deadlines are kept
        }
      }
      // onDeadline may have cancelled the neighbour: then the slot is walked again from its head
      entry = next && next.slot !== slot ? this.#slots[slot] : next
    }
  }
}

/** The process's wheel. */
export const deadlines = new Wheel()
