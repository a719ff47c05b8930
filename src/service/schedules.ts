// Jobs that wait for their time are published by the server (ADR-51). What it cannot publish then, because the stream is
// full or somebody else's job of the same key waits, it forgets; workers look for such jobs and give them a new time.
import { type Bus, headerLine, nextMessage, parseTime, type StoredMessage, sleep } from '../bus/internal.ts'

export interface Delayed {
  readonly bus: Bus
  readonly stream: string
  /** Where jobs wait. */
  readonly subjects: readonly string[]
  readonly onError: (error: unknown) => void
}

const everyMs = 30_000
/** A job this late was forgotten. */
const forgottenMs = 5_000
/** Jobs looked at each time; the next time goes on from there. */
const atOnce = 200

/** Looks after delayed jobs until it is stopped. */
export function watchDelayed(delayed: Delayed): () => void {
  const stopped = new AbortController()
  void (async () => {
    let places = delayed.subjects.map(() => 1)
    while (!stopped.signal.aborted) {
      try {
        if (delayed.bus.connected)
          places = await Promise.all(delayed.subjects.map((subject, n) => lookAt(delayed, subject, places[n]!)))
      } catch (error) {
        if (!stopped.signal.aborted) delayed.onError(error)
      }
      await sleep(everyMs, stopped.signal)
    }
  })()
  return () => stopped.abort()
}

/** Looks at some delayed jobs from a sequence on; resolves with where to go on. */
async function lookAt({ bus, stream }: Delayed, subject: string, from: number): Promise<number> {
  let place = from
  for (let seen = 0; seen < atOnce; seen++) {
    const message = await nextMessage(bus, stream, place, { subject, direct: false })
    if (!message) return 1
    const due = dueAt(message)
    if (due !== undefined && Date.now() - due > forgottenMs) reschedule(bus, message)
    place = message.sequence + 1
  }
  return place
}

const dueAt = (message: StoredMessage) => parseTime(/^@at (.+)$/.exec(message.headers.get('Nats-Schedule') ?? '')?.[1])

/** The same message in the same place, for the next second: it replaces the one that was forgotten. */
function reschedule(bus: Bus, message: StoredMessage): void {
  const at = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 1_000).toISOString().replace(/\.\d+Z$/, 'Z')
  let lines = headerLine('Nats-Schedule', `@at ${at}`)
  for (const [name, value] of Object.entries(message.headers.all())) {
    if (name !== 'Nats-Schedule' && name !== 'Nats-Msg-Id' && !name.startsWith('Nats-Expected-'))
      lines += headerLine(name, value)
  }
  // only if it is still there: it may have been published meanwhile
  bus.publish(
    message.subject,
    message.data,
    `${lines}${headerLine('Nats-Expected-Last-Subject-Sequence', String(message.sequence))}`,
  )
}
