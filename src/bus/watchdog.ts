// Notices a connection that reads nothing: half-open (the other side is gone, stopped or cut off, and TCP has not
// noticed yet), or whose reading in this process has ended. The client library's own pings take 30 s for it.
import type { NatsConnection } from '@nats-io/nats-core'
import { timerMs } from './timer.ts'

/** What is used of the client library's insides where it is there; without it, answers to pings alone are counted. */
interface Insides {
  readonly protocol?: {
    readonly transport?: {
      /** What came from the socket and was not parsed yet; empty at every turn of a healthy connection. */
      readonly yields?: readonly unknown[]
      readonly socket?: { bytesRead?: number; bytesWritten?: number; writableLength?: number; destroy?(): void }
    }
  }
}

const turns = 6

/** Looks at a connection a few times within `silenceMs`, asks the server when it is silent, and tells when it stays so. */
export class Watchdog {
  readonly #nats: NatsConnection
  readonly #timer: NodeJS.Timeout
  readonly #turnMs: number
  readonly #onStale: (silentMs: number) => void
  // Turns are counted, not time: after this process itself was stopped for a while, what lies in the socket is read first.
  #silentTurns = 0
  #unansweredTurns = 0
  #asking = false
  #answered = 0
  #answers = 0
  #parsed = 0
  #received = 0
  #accepted = 0

  constructor(nats: NatsConnection, silenceMs: number, connected: () => boolean, onStale: (silentMs: number) => void) {
    this.#nats = nats
    this.#turnMs = timerMs(silenceMs / turns)
    this.#onStale = onStale
    this.#timer = setInterval(() => (connected() ? this.#turn() : this.#reset()), this.#turnMs)
    this.#timer.unref()
  }

  /** How long nothing was heard, in ms, as far as it was looked. */
  get silentMs(): number {
    return this.#silentTurns * this.#turnMs
  }
  /** Whether the server owes an answer for so long that the connection is most likely dead. */
  get stale(): boolean {
    return this.#unansweredTurns >= turns / 3
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #reset(): void {
    this.#silentTurns = 0
    this.#unansweredTurns = 0
    this.#asking = false
  }

  #turn(): void {
    if (this.#heard()) {
      this.#silentTurns = 0
      this.#unansweredTurns = 0
      return
    }
    this.#silentTurns += 1
    if (this.#asking) this.#unansweredTurns += 1
    else if (this.#silentTurns >= turns / 3) this.#ask()
    if (this.#silentTurns < turns || this.#unansweredTurns < turns / 2) return
    const silentMs = this.silentMs
    this.#reset()
    this.#onStale(silentMs)
    this.#drop()
  }

  /** Any sign of life since the last turn. */
  #heard(): boolean {
    const { answers, parsed, received, accepted } = this.#signs()
    const heard =
      answers !== this.#answers ||
      parsed !== this.#parsed ||
      received !== this.#received ||
      // the socket's own buffer is full when there is a backlog: it takes more only when the other side took some
      accepted !== this.#accepted
    this.#answers = answers
    this.#parsed = parsed
    this.#received = received
    this.#accepted = accepted
    return heard
  }

  #signs(): { answers: number; parsed: number; received: number; accepted: number } {
    const transport = (this.#nats as unknown as Insides).protocol?.transport
    const socket = transport?.socket
    const reading = (transport?.yields?.length ?? 0) === 0
    const backlog = socket?.writableLength ?? 0
    return {
      answers: this.#answered,
      parsed: this.#nats.stats().inMsgs,
      received: reading ? (socket?.bytesRead ?? 0) : this.#received,
      accepted: backlog > 0 ? (socket?.bytesWritten ?? 0) - backlog : this.#accepted,
    }
  }

  #ask(): void {
    this.#asking = true
    const done = () => {
      this.#asking = false
    }
    this.#nats.flush().then(() => {
      this.#answered += 1
      done()
    }, done)
  }

  /** Closes the socket at once: the client library would first wait for the other side to take what is unsent. */
  #drop(): void {
    const socket = (this.#nats as unknown as Insides).protocol?.transport?.socket
    if (socket?.destroy) socket.destroy()
    else this.#nats.reconnect().catch(() => undefined) // it is closed meanwhile
  }
}
