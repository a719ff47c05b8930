// How to reach a server: the options of connect(), checked once, and turned into what the client library takes.
import { readFileSync } from 'node:fs'
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  nkeyAuthenticator,
  type TlsOptions,
} from '@nats-io/nats-core'
import { type CodecName, codecs } from './codec.ts'
import { failure, messageOf } from './errors.ts'

export interface ConnectOptions {
  /** `nats://`, `tls://`, `ws://` or `wss://` URLs, or host:port. Default: `NATS_URL`, then a server embedded here. */
  servers?: string | readonly string[]
  /** Shown in the server's connection list. Default: `myelin`. */
  name?: string
  /** Path of a `.creds` file (user JWT and seed). Default: `NATS_CREDS`. */
  credsFile?: string
  /** An nkey seed (`SU…`). */
  nkeySeed?: string
  token?: string
  user?: string
  password?: string
  /** Files in PEM format; `true` asks for TLS with the system's CAs. */
  tls?: true | { caFile?: string; certFile?: string; keyFile?: string }
  /** How long the first connection may take. Default 5,000 ms. */
  timeoutMs?: number
  /** Reply subjects start with this; set it where permissions give a user its own inbox. Default `_INBOX`. */
  inboxPrefix?: string
  /** Payload encoding of what this connection sends. Default `json`. */
  codec?: CodecName
  /** Calls waiting for a reply at once; more fail with OVERLOADED. Default 65,536. */
  maxCallsInFlight?: number
  /** Bytes published but not yet taken by the server; beyond it publishers wait. Default 8 MiB. */
  maxPendingBytes?: number
  /** Features that must be there; checked at connect. */
  requires?: { jetstream?: boolean; version?: string }
  /** `false`: do not start a server here when none is named and none runs; fail with SERVER_UNREACHABLE. */
  embed?: boolean
  /** Where an embedded server keeps its data when one is started. Default `.myelin/nats` in this folder. */
  storeDir?: string
}

export const defaults = { timeoutMs: 5_000, maxCallsInFlight: 65_536, maxPendingBytes: 8 * 1024 * 1024 } as const

/** The address to use, if any is named. */
export function serversOf(options: ConnectOptions): string[] | undefined {
  const named = options.servers ?? process.env.NATS_URL
  if (named === undefined || named === '') return undefined
  const servers = (typeof named === 'string' ? named.split(',') : [...named]).map((server) => server.trim())
  if (servers.some((server) => server === '')) throw failure('INVALID_OPTION', 'servers: an address is empty')
  const webSockets = servers.filter(isWebSocket).length
  if (webSockets > 0 && webSockets < servers.length) {
    throw failure('INVALID_OPTION', 'servers: WebSocket and plain addresses cannot be mixed')
  }
  return servers
}

export function isWebSocket(server: string): boolean {
  return /^wss?:\/\//i.test(server)
}

/** @throws MyelinError BAD_CREDENTIALS, FILE_NOT_FOUND, INVALID_OPTION */
export function toClientOptions(servers: string[], options: ConnectOptions): ConnectionOptions {
  for (const key of ['timeoutMs', 'maxCallsInFlight', 'maxPendingBytes'] as const) {
    const value = options[key]
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
      throw failure('INVALID_OPTION', `${key}: expected a number above 0, got ${value}`)
    }
  }
  if (options.codec !== undefined && !Object.hasOwn(codecs, options.codec)) {
    throw failure('INVALID_OPTION', `codec: expected one of ${Object.keys(codecs).join(', ')}, got "${options.codec}"`)
  }
  const authenticator = authenticatorOf(options)
  const tls = tlsOf(servers, options)
  return {
    servers,
    name: options.name ?? 'myelin',
    timeout: options.timeoutMs ?? defaults.timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    pingInterval: 10_000,
    maxPingOut: 2,
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    ...(authenticator ? { authenticator } : {}),
    ...(tls ? { tls } : {}),
  }
}

function authenticatorOf(options: ConnectOptions): Authenticator | undefined {
  const credsFile = options.credsFile ?? process.env.NATS_CREDS
  if (credsFile) {
    const creds = read(credsFile, 'credsFile')
    if (!/BEGIN NATS USER JWT/.test(creds) || !/SEED/.test(creds)) {
      throw failure('BAD_CREDENTIALS', `credsFile: ${credsFile} does not hold a NATS user JWT and a seed`)
    }
    return credsAuthenticator(new TextEncoder().encode(creds))
  }
  if (options.nkeySeed !== undefined) {
    const seed = options.nkeySeed.trim()
    // the seed itself must never reach a message or a log
    if (!/^SU[A-Z2-7]{56}$/.test(seed))
      throw failure('BAD_CREDENTIALS', 'nkeySeed: expected a user seed, SU followed by 56 letters and digits')
    return nkeyAuthenticator(new TextEncoder().encode(seed))
  }
  return undefined
}

function tlsOf(servers: string[], options: ConnectOptions): TlsOptions | undefined {
  if (options.tls === undefined) return servers.some((server) => /^tls:/i.test(server)) ? {} : undefined
  if (options.tls === true) return {}
  const { caFile, certFile, keyFile } = options.tls
  return {
    ...(caFile ? { ca: read(caFile, 'tls.caFile') } : {}),
    ...(certFile ? { cert: read(certFile, 'tls.certFile') } : {}),
    ...(keyFile ? { key: read(keyFile, 'tls.keyFile') } : {}),
  }
}

function read(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw failure('FILE_NOT_FOUND', `${option}: cannot read ${path}: ${messageOf(cause)}`, { cause })
  }
}
