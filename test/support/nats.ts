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

/** Resolves when `done` says so. @throws Error after `withinMs` */
export async function until(done: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  for (const end = Date.now() + withinMs; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (await done()) return
  }
  throw new Error(`did not happen within ${withinMs} ms: ${done}`)
}

/** The code a promise fails with, or 'none'. */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error) => (error instanceof MyelinError ? error.code : String(error)),
  )
}
