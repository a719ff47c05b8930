// The options of an embedded server, and the nats-server configuration they become.
import { resolve } from 'node:path'

/** Where an embedded server keeps its data, and what it listens to. */
export interface EmbeddedOptions {
  /** Client port; 0 or absent: a free one. */
  port?: number
  /** Default 127.0.0.1: nobody else on the network. */
  host?: string
  /** JetStream's data. Default: a temporary folder that is removed at stop. */
  storeDir?: string
  /** Remove what an earlier server kept in `storeDir`; refused with STORE_LOCKED while one runs there. */
  fresh?: boolean
  /** A nats-server configuration file to start from; its settings stay, ports and store given here win. */
  configFile?: string
  /** Lines added to the generated configuration. */
  extraConfig?: string
  jetstream?: boolean
  maxPayloadBytes?: number
  /**
   * Soft limit of the server's memory (Go's GOMEMLIMIT). While a stream is written and read at full speed, half of its
   * 590 MB were garbage; with 300 MiB it stayed at 316 MB and was no slower. Default: none.
   */
  memoryLimitBytes?: number
  /** HTTP monitoring port; 0: a free one. Default: none. */
  monitorPort?: number
  /** WebSocket port without TLS; 0: a free one. Default: none. */
  websocketPort?: number
  name?: string
  /** Start again when it dies. Default true. */
  restart?: boolean
  /** How often to ask whether it still answers. Default 2,000 ms; 0: never. */
  probeMs?: number
  /** Grace for a clean stop before it is killed. Default 5,000 ms. */
  stopTimeoutMs?: number
  onEvent?: (event: EmbeddedEvent) => void
}

/** What happened to an embedded server; see `onEvent` of {@link EmbeddedOptions}. */
export type EmbeddedEvent =
  | { type: 'started'; pid: number; port: number }
  | { type: 'died'; pid: number; reason: string }
  | { type: 'restarted'; pid: number; attempt: number }
  | { type: 'hung'; pid: number }
  /** A write failed for want of room: it is restarted, and refuses (STREAM_FULL) until there is room again. */
  | { type: 'disk-full'; pid: number; storeDir: string }
  /** It refused, and there is room again: it is restarted, and takes messages. */
  | { type: 'disk-freed'; pid: number; storeDir: string; freeBytes: number }
  | { type: 'gave-up'; reason: string }
  | { type: 'stopped' }

/** Ports as numbers of this start; -1 lets the server choose. */
export interface Ports {
  readonly client: number
  readonly monitor: number | undefined
  readonly websocket: number | undefined
}

/** The configuration file's text. */
export function serverConfig(
  options: EmbeddedOptions,
  storeDir: string,
  ports: Ports,
  storeLimitBytes?: number,
): string {
  const host = options.host ?? '127.0.0.1'
  const limit = storeLimitBytes === undefined ? '' : `, max_file_store: ${storeLimitBytes}`
  const lines = [
    ...(options.configFile ? [`include ${JSON.stringify(resolve(options.configFile))}`] : []),
    `host: ${JSON.stringify(host)}`,
    `port: ${ports.client}`,
    `ports_file_dir: ${JSON.stringify(storeDir)}`,
    ...(options.name ? [`server_name: ${JSON.stringify(options.name)}`] : []),
    ...(options.maxPayloadBytes ? [`max_payload: ${options.maxPayloadBytes}`] : []),
    ...(ports.monitor === undefined ? [] : [`http: ${JSON.stringify(`${host}:${ports.monitor}`)}`]),
    ...(ports.websocket === undefined
      ? []
      : [`websocket { host: ${JSON.stringify(host)}, port: ${ports.websocket}, no_tls: true }`]),
    ...(options.jetstream === false ? [] : [`jetstream { store_dir: ${JSON.stringify(storeDir)}${limit} }`]),
    ...(options.extraConfig ? [options.extraConfig] : []),
  ]
  return `${lines.join('\n')}\n`
}
