// connect(): from an address, or nothing at all, to a Bus; with errors a stranger can act on.

import { jetstreamManager } from '@nats-io/jetstream'
import { type ConnectionOptions, type NatsConnection, errors as natsErrors, wsconnect } from '@nats-io/nats-core'
import { connect as connectTcp } from '@nats-io/transport-node'
import { Bus } from './bus.ts'
import { codecs } from './codec.ts'
import { dial } from './dial.ts'
import { sharedServer } from './embedded/index.ts'
import { failure, MyelinError, messageOf } from './errors.ts'
import {
  type ConnectOptions,
  checkOptionKeys,
  defaults,
  inboxPrefixOf,
  isWebSocket,
  serversOf,
  toClientOptions,
  withoutPassword,
} from './options.ts'
import { sleep } from './timer.ts'

/**
 * Connects to NATS: to `servers`, to `NATS_URL`, to the embedded server that already runs in this folder, or to one
 * started for this process.
 *
 * @example
 * await using bus = await connect()
 * await using remote = await connect({ servers: 'tls://nats.example.com', credsFile: 'app.creds' })
 *
 * @throws MyelinError SERVER_UNREACHABLE, NOT_A_NATS_SERVER, AUTH_FAILED, BAD_CREDENTIALS, TLS_FAILED, SERVER_TOO_OLD,
 *   JETSTREAM_DISABLED, INVALID_OPTION, FILE_NOT_FOUND; and SERVER_NOT_FOUND, SERVER_FAILED, STORE_LOCKED when embedding
 */
export async function connect(options: ConnectOptions = {}): Promise<Bus> {
  checkOptionKeys(options)
  const named = serversOf(options)
  if (named) return open(named, options)
  const storeDir = options.storeDir ?? '.myelin/nats'
  const embed = options.embed !== false
  const server = await sharedServer(storeDir, embed)
  if (!server) {
    throw failure('SERVER_UNREACHABLE', `no server is named (NATS_URL) and none runs in this folder (${storeDir})`)
  }
  try {
    const bus = await open([server.url], options, () => server.stop())
    if (embed) server.follow(bus)
    return bus
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function open(servers: string[], options: ConnectOptions, onClose?: () => Promise<void>): Promise<Bus> {
  let nats: NatsConnection | undefined
  let silent: string | undefined
  const clientOptions: ConnectionOptions = {
    ...toClientOptions(servers, options),
    reconnectDelayHandler: () => {
      if (nats) forgetDialsToCome(nats)
      return redialMs * (1 + Math.random())
    },
    // a frozen server lets itself be dialled and says nothing: the others go first, it has its turn after them
    reconnectToServer: (pool) => {
      if (silent === undefined || pool[0]?.listen !== silent) return null
      silent = undefined
      return pool[1] ?? null
    },
  }
  try {
    nats = await dial(() => (isWebSocket(servers[0] ?? '') ? wsconnect(clientOptions) : connectTcp(clientOptions)))
  } catch (error) {
    const failed = connectFailure(error, servers)
    if (failed.code === 'SERVER_UNREACHABLE' && /timeout/i.test(failed.message)) {
      for (const server of clientOptions.servers as string[]) {
        if (await speaksHttp(server)) throw failure('NOT_A_NATS_SERVER', `${server} speaks HTTP`, { cause: error })
      }
    }
    throw failed
  }
  try {
    await checkFeatures(nats, options)
  } catch (error) {
    await nats.close()
    throw error
  }
  const limits = {
    maxCallsInFlight: options.maxCallsInFlight ?? defaults.maxCallsInFlight,
    maxPendingBytes: options.maxPendingBytes ?? defaults.maxPendingBytes,
    silenceMs: options.silenceMs ?? defaults.silenceMs,
    inboxPrefix: inboxPrefixOf(options),
    replicas: options.replicas,
    servers,
  }
  const bus = new Bus(nats, codecs[options.codec ?? 'json'], limits, onClose)
  bus.on(({ type }) => {
    if (type === 'stale') silent = bus.url
  })
  return bus
}

async function checkFeatures(nats: NatsConnection, { requires = {} }: ConnectOptions): Promise<void> {
  const version = nats.info?.version ?? '0'
  if (requires.version && !atLeast(version, requires.version)) {
    throw failure(
      'SERVER_TOO_OLD',
      `${nats.getServer()} is nats-server ${version}; this needs ${requires.version} or newer`,
      {
        data: { version, needed: requires.version },
      },
    )
  }
  if (requires.jetstream) await requireJetStream(nats)
}

/** A cluster whose servers elect a leader answers nobody for some seconds. */
const jetStreamTries = 4
const jetStreamTryMs = 4_000

/** @throws MyelinError JETSTREAM_DISABLED, NO_LEADER */
export async function requireJetStream(nats: NatsConnection): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return void (await (await jetstreamManager(nats, { checkAPI: false, timeout: jetStreamTryMs })).getAccountInfo())
    } catch (cause) {
      const reason = messageOf(cause)
      const electing = /timeout|temporarily unavailable/i.test(reason)
      if (!electing) throw failure('JETSTREAM_DISABLED', `${nats.getServer()}: ${reason}`, { cause })
      if (tries === jetStreamTries || nats.isClosed()) {
        throw failure('NO_LEADER', `${nats.getServer()}: JetStream did not answer ${tries} times (${reason})`, {
          cause,
        })
      }
    }
    await sleep(500)
  }
}

/** Time between two attempts at a server: this to twice as long. */
const redialMs = 250

/**
 * The client library remembers by the system's clock when it dialled a server last, and waits until that is long enough
 * ago: with the clock set back by an hour, for an hour.
 */
function forgetDialsToCome(nats: NatsConnection): void {
  const { protocol } = nats as unknown as {
    protocol?: { servers?: { getServers?(): readonly { lastConnect: number }[] } }
  }
  for (const server of protocol?.servers?.getServers?.() ?? [])
    if (server.lastConnect > Date.now()) server.lastConnect = 0
}

/** Compares dotted version numbers; what follows a dash is ignored. */
export function atLeast(version: string, wanted: string): boolean {
  const numbers = (text: string) => (text.split('-')[0] ?? '').split('.').map((part) => Number.parseInt(part, 10) || 0)
  const [have, want] = [numbers(version), numbers(wanted)]
  for (let i = 0; i < 3; i++) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}

function connectFailure(error: unknown, servers: string[]): MyelinError {
  if (error instanceof MyelinError) return error
  const where = servers.map(withoutPassword).join(', ')
  const message = [messageOf(error), error instanceof Error && error.cause ? messageOf(error.cause) : '']
    .filter(Boolean)
    .join(': ')
  const options = { cause: error }
  if (
    error instanceof natsErrors.AuthorizationError ||
    error instanceof natsErrors.UserAuthenticationExpiredError ||
    /authoriz|authentic/i.test(message)
  ) {
    return failure('AUTH_FAILED', `${where} refused the credentials: ${message}`, options)
  }
  if (/certificate|\btls\b|ssl|self.signed|secure connection/i.test(message))
    return failure('TLS_FAILED', `${where}: ${message}`, options)
  if (error instanceof natsErrors.ProtocolError || /unexpected|parse|protocol|invalid json|INFO/.test(message)) {
    return failure('NOT_A_NATS_SERVER', `${where}: ${message}`, options)
  }
  return failure('SERVER_UNREACHABLE', `${where}: ${message}`, options)
}

/** An HTTP server waits for the client to speak first, and so does the NATS client: only asking tells. */
function speaksHttp(server: string): Promise<boolean> {
  const url = `http://${server.replace(/^[a-z]+:\/\//i, '')}`
  return fetch(url, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(1_000) }).then(
    () => true,
    () => false,
  )
}
