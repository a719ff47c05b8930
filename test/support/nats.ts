// What most tests stand on: a real server of their own, connections that are closed for them, and waiting without sleeping.
import { afterAll, beforeAll } from 'vitest'
import {
  type Bus,
  type ConnectOptions,
  connect,
  type EmbeddedNats,
  type EmbeddedOptions,
  embeddedNats,
  MyelinError,
} from '../../src/bus/index.ts'

export { until } from '../../src/testing/until.ts'

export interface NatsFixture {
  readonly server: EmbeddedNats
  /** A connection shared by the file's tests. */
  readonly bus: Bus
  /** One more connection, closed after the file's tests. */
  connect(options?: ConnectOptions): Promise<Bus>
}

/** A nats-server for the tests of one file. */
export function withNats(options: EmbeddedOptions = {}): NatsFixture {
  let server: EmbeddedNats
  let bus: Bus
  const opened: Bus[] = []
  const open = async (given: ConnectOptions = {}) => {
    const made = await connect({ servers: server.url, ...given })
    opened.push(made)
    return made
  }
  beforeAll(async () => {
    server = await embeddedNats(options)
    bus = await open()
  })
  afterAll(async () => {
    for (const made of opened) await made.close()
    await server?.stop()
  })
  return {
    get server() {
      return server
    },
    get bus() {
      return bus
    },
    connect: open,
  }
}

/** The code a promise fails with, or 'none'. */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error) => (error instanceof MyelinError ? error.code : String(error)),
  )
}
