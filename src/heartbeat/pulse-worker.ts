// The thread that beats. It knows what the main thread told it last; when that gets old, the main thread is busy.
import { parentPort, workerData } from 'node:worker_threads'
import { type Bus, connect, messageOf, now, timerMs } from '../bus/internal.ts'
import { type Beat, beatSubject, beatText } from './beat.ts'
import { ensureBeats } from './beats-stream.ts'
import type { PulseWorkerData, Snapshot, ToPulse } from './pulse.ts'

const { connect: options, site, intervalMs, snapshotMs, host, connection } = workerData as PulseWorkerData

interface Beating {
  snapshot: Snapshot
  /** Another one each time this thread begins to beat for it: watchers order beats by it and `seq`. */
  readonly incarnation: string
  seq: number
  nextAt: number
  /** What the last beat said; a change is told at once. */
  said: string
}

const beating = new Map<string, Beating>()
let reportedAt = now()
let bus: Bus

const send = (instance: Beating, state = instance.snapshot.state) => {
  const sentAt = now()
  const silentMs = sentAt - reportedAt
  // a garbage collection makes one snapshot late; three missing ones are a stall
  const busy = silentMs > 3 * snapshotMs && state !== 'left'
  const { snapshot } = instance
  instance.seq += 1
  instance.nextAt = sentAt + intervalMs * (0.9 + Math.random() * 0.1)
  instance.said = `${state} ${snapshot.revision}`
  const beat: Beat = {
    site,
    ...snapshot,
    state: busy ? 'busy' : state,
    host,
    pid: process.pid,
    at: Date.now(),
    incarnation: instance.incarnation,
    seq: instance.seq,
    nextMs: intervalMs,
    ...(busy ? { stallMs: silentMs } : {}),
    connection,
  }
  // a beat that cannot be sent now is worth nothing later
  if (bus.connected) {
    const text = beatText(beat, bus.maxPayloadBytes)
    bus.publish(beatSubject(beat.site, snapshot.unit, snapshot.instance), Buffer.from(text))
  }
}

const leave = (instance: string) => {
  const gone = beating.get(instance)
  if (gone) send(gone, 'left')
  beating.delete(instance)
}

parentPort!.on('message', async (message: ToPulse) => {
  if (message.type === 'snapshots') {
    reportedAt = now()
    const named = new Set(message.snapshots.map(({ instance }) => instance))
    // no longer this process's to beat for: without goodbye, another one goes on
    for (const instance of beating.keys()) if (!named.has(instance)) beating.delete(instance)
    for (const snapshot of message.snapshots) {
      const known = beating.get(snapshot.instance)
      if (!known) {
        const fresh = { snapshot, incarnation: crypto.randomUUID(), seq: 0, nextAt: 0, said: '' }
        beating.set(snapshot.instance, fresh)
        send(fresh)
        continue
      }
      known.snapshot = snapshot
      if (known.said !== `${snapshot.state} ${snapshot.revision}`) send(known)
    }
  } else if (message.type === 'leave') leave(message.instance)
  else {
    clearInterval(timer)
    if (message.goodbye) for (const instance of [...beating.keys()]) leave(instance)
    await bus.close()
    process.exit(0) // of this thread
  }
})

/** After so many beats the stream of the last ones is looked for: somebody may have removed it. */
const ensureEvery = 30

let timer: NodeJS.Timeout
try {
  bus = await connect({ ...options, name: connection })
  // without JetStream there is no snapshot for those who come late
  const ensure = () => ensureBeats(bus).catch(() => undefined)
  await ensure()
  // a stream in memory ends with its server
  bus.on(({ type }) => {
    if (type === 'reconnected') void ensure()
  })
  let ensureAt = now() + ensureEvery * intervalMs
  timer = setInterval(
    () => {
      const at = now()
      if (at >= ensureAt && bus.connected) {
        ensureAt = at + ensureEvery * intervalMs
        void ensure()
      }
      for (const instance of beating.values()) if (at >= instance.nextAt) send(instance)
    },
    timerMs(Math.max(5, intervalMs / 20)),
  )
  parentPort!.postMessage({ ready: true })
} catch (error) {
  parentPort!.postMessage({ ready: false, error: messageOf(error) })
  process.exit(1)
}
