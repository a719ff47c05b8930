// How to reach a server: the options of connect(), checked once, and turned into what the client library takes.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  nkeyAuthenticator,
  type TlsOptions,
} from '@nats-io/nats-core'
import { type CodecName, codecs } from './codec.ts'
import { failure, messageOf } from './errors.ts'
import { unknownKey } from './nearest.ts'
import { timerMs } from './timer.ts'

/** Which servers to connect to, as whom, and what the connection may hold; see {@link connect}. */
export interface ConnectOptions {
  /** `nats://`, `tls://`, `ws://` or `wss://` URLs, or host:port. Default: `NATS_URL`, then a server embedded here. */
  servers?: string | readonly string[]
  /** Shown in the server's connection list. Default: `myelin`. */
  name?: string
  /** Path of a `.creds` file (user JWT and seed). Default: `NATS_CREDS`, unless another option or address says who connects. */
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
  /**
   * How long the server may stay silent, asked for a sign of life meanwhile, before the connection is taken for dead and
   * dialled again. Default 6,000 ms.
   */
  silenceMs?: number
  /**
   * Reply subjects start with this; set it where permissions give a user its own inbox. Default: `NATS_INBOX_PREFIX`,
   * then `_INBOX`.
   */
  inboxPrefix?: string
  /** Payload encoding of what this connection sends. Default `json`. */
  codec?: CodecName
  /** Calls waiting for a reply at once; more fail with OVERLOADED. Default 65,536. */
  maxCallsInFlight?: number
  /** Bytes published but not yet taken by the server; beyond it publishers wait. Default 8 MiB. */
  maxPendingBytes?: number
  /**
   * Copies that a cluster keeps of every stream and bucket made over this connection, 1 to 5. Default: 3 where the servers
   * can, else 1. What exists is raised to it and never lowered; a contract's or view's own `replicas` wins.
   */
  replicas?: number
  /** Features that must be there; checked at connect. */
  requires?: { jetstream?: boolean; version?: string }
  /** `false`: do not start a server here when none is named and none runs; fail with SERVER_UNREACHABLE. */
  embed?: boolean
  /** Where an embedded server keeps its data when one is started. Default `.myelin/nats` in this folder. */
  storeDir?: string
}

const optionKeys: Readonly<Record<keyof ConnectOptions, true>> = {
  servers: true,
  name: true,
  credsFile: true,
  nkeySeed: true,
  token: true,
  user: true,
  password: true,
  tls: true,
  timeoutMs: true,
  silenceMs: true,
  inboxPrefix: true,
  codec: true,
  maxCallsInFlight: true,
  maxPendingBytes: true,
  replicas: true,
  requires: true,
  embed: true,
  storeDir: true,
}
const nested = { tls: ['caFile', 'certFile', 'keyFile'], requires: ['jetstream', 'version'] } as const

/** @throws MyelinError INVALID_OPTION for a key that there is not: what it was to say would be left out */
export function checkOptionKeys(options: ConnectOptions): void {
  const check = (where: string, value: object, known: readonly string[]) => {
    const odd = Object.keys(value).find((key) => !known.includes(key))
    if (odd !== undefined) throw failure('INVALID_OPTION', `${where}: ${unknownKey(odd, known)}`)
  }
  check('connect', options, Object.keys(optionKeys))
  for (const [key, known] of Object.entries(nested)) {
    const value = options[key as keyof typeof nested]
    if (typeof value === 'object') check(`connect: ${key}`, value, known)
  }
}

export const defaults = {
  timeoutMs: 5_000,
  silenceMs: 6_000,
  maxCallsInFlight: 65_536,
  maxPendingBytes: 8 * 1024 * 1024,
} as const

/** The address to use, if any is named. */
export function serversOf(options: ConnectOptions): string[] | undefined {
  const named = options.servers ?? process.env.NATS_URL
  if (named === undefined || named === '') return undefined
  const servers = (typeof named === 'string' ? named.split(',') : [...named]).map((server) => server.trim())
  if (servers.length === 0 || servers.some((server) => server === ''))
    throw failure('INVALID_OPTION', 'servers: an address is empty')
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
  for (const key of ['timeoutMs', 'silenceMs', 'maxCallsInFlight', 'maxPendingBytes'] as const) {
    const value = options[key]
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
      throw failure('INVALID_OPTION', `${key}: expected a number above 0, got ${value}`)
    }
  }
  const { replicas } = options
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) {
    throw failure('INVALID_OPTION', `replicas: expected a whole number from 1 to 5, got ${replicas}`)
  }
  if (options.codec !== undefined && !Object.hasOwn(codecs, options.codec)) {
    throw failure('INVALID_OPTION', `codec: expected one of ${Object.keys(codecs).join(', ')}, got "${options.codec}"`)
  }
  const authenticator = authenticatorOf(options)
  const tls = tlsOf(servers, options)
  return {
    // a user in NATS_URL says nothing where the code says who connects
    ...(options.servers === undefined && (options.credsFile !== undefined || identified(options))
      ? {}
      : userOf(servers)),
    // the client library takes no user from an address, and mistakes digits in its password for the port
    servers: servers.map((server) => server.replace(userInfo, '$1')),
    name: options.name ?? 'myelin',
    timeout: timerMs(options.timeoutMs ?? defaults.timeoutMs),
    maxReconnectAttempts: -1,
    pingInterval: 10_000, // in case the watchdog, which is faster, cannot tell
    maxPingOut: 2,
    ...(inboxPrefixOf(options) === undefined ? {} : { inboxPrefix: inboxPrefixOf(options)! }),
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    ...(authenticator ? { authenticator } : {}),
    ...(tls ? { tls } : {}),
  }
}

export const inboxPrefixOf = ({ inboxPrefix }: ConnectOptions): string | undefined =>
  inboxPrefix ?? (process.env.NATS_INBOX_PREFIX || undefined)

/** `user:password@` or `token@` in an address. */
const userInfo = /^([a-z]+:\/\/)?[^?#]*@/i

function userOf(servers: string[]): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  const address = servers.find((server) => userInfo.test(server))
  if (address === undefined) return {}
  const text = address.slice(0, address.lastIndexOf('@')).replace(/^[a-z]+:\/\//i, '')
  const colon = text.indexOf(':')
  if (colon < 0) return { token: unescaped(text) }
  return { user: unescaped(text.slice(0, colon)), pass: unescaped(text.slice(colon + 1)) }
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** An address fit for messages and logs. */
export function withoutPassword(server: string): string {
  return server.replace(userInfo, '$1…@')
}

/** Whether the code says who connects: the environment then has no say in it. */
function identified({ nkeySeed, token, user, password, servers }: ConnectOptions): boolean {
  const given = servers === undefined ? [] : typeof servers === 'string' ? servers.split(',') : servers
  return [nkeySeed, token, user, password].some((one) => one !== undefined) || given.some((one) => userInfo.test(one))
}

function authenticatorOf(options: ConnectOptions): Authenticator | undefined {
  const credsFile = options.credsFile ?? (identified(options) ? undefined : process.env.NATS_CREDS)
  if (credsFile) {
    const creds = read(credsFile, 'credsFile')
    if (!/BEGIN NATS USER JWT/.test(creds) || !/SEED/.test(creds)) {
      throw failure('BAD_CREDENTIALS', `credsFile: ${credsFile} does not hold a NATS user JWT and a seed`)
    }
    return checked(credsAuthenticator(new TextEncoder().encode(creds)), `credsFile: ${credsFile}`)
  }
  if (options.nkeySeed !== undefined) {
    const seed = options.nkeySeed.trim()
    // the seed itself must never reach a message or a log
    if (!/^SU[A-Z2-7]{56}$/.test(seed))
      throw failure('BAD_CREDENTIALS', 'nkeySeed: expected a user seed, SU followed by 56 letters and digits')
    return checked(nkeyAuthenticator(new TextEncoder().encode(seed)), 'nkeySeed')
  }
  return undefined
}

/** Signs once, to find a broken seed here and not as a failed connection. What it says of the seed is not passed on. */
function checked(authenticator: Authenticator, option: string): Authenticator {
  try {
    authenticator('nonce')
  } catch {
    throw failure('BAD_CREDENTIALS', `${option}: the seed is damaged, its checksum does not fit`)
  }
  return authenticator
}

function hostOf(server: string): string {
  const address = server.replace(userInfo, '$1').replace(/^[a-z]+:\/\//i, '')
  return address.replace(/^\[(.+)\](?::\d+)?$|^([^:]+):\d+$/, '$1$2')
}

function tlsOf(servers: string[], options: ConnectOptions): TlsOptions | undefined {
  // a certificate is checked against the address; without this the client library checks an IP address as `localhost`
  const ip = servers.map(hostOf).find((host) => isIP(host) > 0)
  const host: TlsOptions & { host?: string } = ip === undefined ? {} : { host: ip }
  if (options.tls === undefined) return servers.some((server) => /^tls:/i.test(server)) ? host : undefined
  if (options.tls === true) return host
  const { caFile, certFile, keyFile } = options.tls
  return {
    ...host,
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
