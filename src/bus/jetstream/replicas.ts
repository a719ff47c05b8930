// How many copies the servers keep of a stream. What was asked for, or else three where the servers can, and one where
// not. Copies are never taken away: what an operator raised stays raised.
import { JetStreamApiError, type StreamInfo } from '@nats-io/jetstream'
import type { Bus } from '../bus.ts'
import { failure, type MyelinError, messageOf } from '../errors.ts'

/** What is kept of everything by default in a cluster. */
const usual = 3
// nats-server's server/errors.json: no suitable peers; replicas need a cluster; no room for so many
const impossible = new Set([10005, 10074])
const noRoom = new Set([10023, 10028, 10047])

/** Connections whose servers could not keep the usual number. */
const single = new WeakSet<Bus>()

export interface Copies {
  readonly count: number
  /** Somebody said so; else it is the default, which the servers may be too few for. */
  readonly asked: boolean
}

/** How many copies of a new stream to ask for. @throws MyelinError INVALID_OPTION */
export function copiesOf(bus: Bus, given: number | undefined): Copies {
  const asked = given ?? bus.replicas
  if (asked === undefined) return { count: single.has(bus) ? 1 : usual, asked: false }
  if (!Number.isInteger(asked) || asked < 1 || asked > 5)
    throw failure('INVALID_OPTION', `replicas: expected a whole number from 1 to 5, got ${asked}`)
  return { count: asked, asked: true }
}

/** How many copies an existing stream should have. @throws MyelinError INVALID_OPTION, REPLICAS_UNAVAILABLE */
export function copiesWanted(bus: Bus, given: number | undefined, { config, cluster }: StreamInfo): Copies {
  const wanted = copiesOf(bus, given)
  // a server of its own tells no cluster, and would take any number as a change
  const alone = !cluster?.name
  if (alone && wanted.asked && wanted.count > config.num_replicas) throw aloneFailure(config.name, wanted.count)
  return { ...wanted, count: Math.max(alone ? 1 : wanted.count, config.num_replicas) }
}

/** Whether fewer copies may be possible; what is found out holds for the connection's other streams. */
export function tooMany(bus: Bus, copies: Copies, error: unknown): boolean {
  if (copies.asked || copies.count === 1 || !(error instanceof JetStreamApiError)) return false
  if (impossible.has(error.code)) {
    if (!single.has(bus)) {
      // the next server may be one of a cluster
      const stop = bus.on(({ type }) => {
        if (type !== 'reconnected') return
        single.delete(bus)
        stop()
      })
    }
    single.add(bus)
    return true
  }
  return noRoom.has(error.code)
}

/** Why so many copies cannot be had, if that is what the server said. */
export function replicasFailure(name: string, count: number, error: unknown): MyelinError | undefined {
  if (!(error instanceof JetStreamApiError && impossible.has(error.code))) return undefined
  if (error.code === 10074) return aloneFailure(name, count, error)
  return failure(
    'REPLICAS_UNAVAILABLE',
    `stream ${name}: ${count} replicas were asked for, and the cluster has not as many servers with JetStream that are up (${messageOf(error)})`,
    { cause: error, retriable: true, data: { replicas: count } },
  )
}

const aloneFailure = (name: string, count: number, cause?: unknown) =>
  failure(
    'REPLICAS_UNAVAILABLE',
    `stream ${name}: ${count} replicas were asked for, and this server is alone: it keeps one. Leave replicas out, or say 1, or connect to a cluster of ${count} servers`,
    { cause, data: { replicas: count } },
  )
