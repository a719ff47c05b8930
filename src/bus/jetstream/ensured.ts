// Streams made when they are first needed, and again when somebody removed them under a running system.
import type { Bus } from '../bus.ts'
import { hasCode } from '../errors.ts'
import { perConnection } from '../per-connection.ts'
import { manager } from './api.ts'
import { type Persisted, type PersistOptions, persist } from './publish.ts'
import { ensureStream, type StreamSpec, streamInfo } from './streams.ts'

const ready = perConnection(() => new Map<string, Promise<void>>())

/**
 * Makes sure, once per connection, that a stream exists.
 * @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH, REPLICAS_UNAVAILABLE, NO_LEADER
 */
export function ensureOnce(bus: Bus, spec: StreamSpec): Promise<void> {
  const known = ready(bus)
  let promise = known.get(spec.name)
  if (!promise) {
    const made = ensureStream(bus, spec)
    made.catch(() => known.get(spec.name) === made && known.delete(spec.name))
    known.set(spec.name, made)
    promise = made
  }
  return promise
}

/** The next one who needs the stream looks whether it is there. */
export function forgetEnsured(bus: Bus, name: string): void {
  ready(bus).delete(name)
}

/**
 * Stores one message in a stream that is made when it is missing, also when it was removed since it was last seen.
 * @throws MyelinError as {@link persist} and {@link ensureOnce}
 */
export async function persistIn(
  bus: Bus,
  spec: StreamSpec,
  subject: string,
  data: Uint8Array,
  options: PersistOptions,
): Promise<Persisted> {
  await ensureOnce(bus, spec)
  try {
    return await persist(bus, subject, data, options)
  } catch (error) {
    if (!hasCode(error, 'STREAM_NOT_FOUND')) throw error
    forgetEnsured(bus, spec.name)
    await ensureOnce(bus, spec)
    return persist(bus, subject, data, options)
  }
}

const looked = perConnection(() => new Map<string, number>())
const lookEveryMs = 60_000

/**
 * Keeps a stream of the library's own below a size: at most once a minute the oldest messages go. A limit of the server
 * (`maxBytes`) would set the whole size aside for each stream, used or not.
 */
export async function keepBelow(bus: Bus, stream: string, bytes: number): Promise<void> {
  const times = looked(bus)
  const at = performance.now()
  if (at - (times.get(stream) ?? Number.NEGATIVE_INFINITY) < lookEveryMs) return
  times.set(stream, at)
  try {
    const state = (await streamInfo(bus, stream))?.state
    if (!state || state.bytes <= bytes) return
    const keep = Math.max(1, Math.floor((state.messages * bytes * 0.9) / state.bytes))
    await (await manager(bus)).streams.purge(stream, { keep })
  } catch (error) {
    bus.report(error, `keeping ${stream} below ${bytes} bytes`)
  }
}
