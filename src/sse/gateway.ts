// The SSE microservice: streams of NATS as text/event-stream for any browser, `new EventSource(url)` and nothing else.
//
// Promise: of what is kept (views, tables, durable events) a client that comes back with its Last-Event-ID gets
// everything it missed, once and in order; of a view, a client too slow for every row gets the latest of each key.
// Source: WHATWG HTML, server-sent events.
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { failure, MyelinError, timerMs } from '../bus/internal.ts'
import {
  allSettled,
  defineUnit,
  type Opened,
  openAll,
  type RunningUnit,
  type Unit,
  type UnitContext,
} from '../unit/internal.ts'
import { Config } from './config.ts'
import { metricsText } from './metrics.ts'
import { createServer, listen } from './server.ts'
import type { SseSource } from './source.ts'
import { serveStreams } from './streams.ts'
import { Topic } from './topic.ts'

export interface GatewayOptions {
  readonly name?: string
  readonly description?: string
  /** What is offered, at `GET /streams/<name>`. */
  readonly streams: Readonly<Record<string, SseSource>>
  /** More routes on the same server: pages, an API. */
  readonly routes?: (app: FastifyInstance, host: UnitContext<Config>) => void | Promise<void>
}

/**
 * Defines an SSE gateway.
 *
 * @throws MyelinError INVALID_OPTION: a stream has a name that events of the protocol have, or that does not fit a URL
 *
 * @example
 * export default sseGateway({ name: 'board', streams: { delays: fromView(delaysView), progress: fromEvent(flights, 'progress') } })
 * // in the browser: new EventSource('/streams/delays').addEventListener('delays', (e) => show(JSON.parse(e.data)))
 */
export function sseGateway(options: GatewayOptions): Unit<Config> {
  for (const name of Object.keys(options.streams)) checkName(name)
  return defineUnit<Config>({
    kind: 'sse',
    name: options.name ?? 'sse',
    ...(options.description ? { description: options.description } : {}),
    config: Config,
    start: (host) => openAll((opened) => start(options, host, opened)),
  })
}

/** What EventSource, or this gateway, says under a name of its own; a stream's rows would be taken for it. */
const reserved = ['error', 'open', 'gap', 'move', 'position']

function checkName(name: string): void {
  if (reserved.includes(name)) {
    throw failure(
      'INVALID_OPTION',
      `streams: ${name} is an event of the protocol (${reserved.join(', ')}); choose another name`,
    )
  }
  if (!/^[\p{L}\p{N}._~-]+$/u.test(name)) {
    throw failure(
      'INVALID_OPTION',
      `streams: ${JSON.stringify(name)} is no name; use letters, digits, "-", "_", "." and "~"`,
    )
  }
}

async function start(options: GatewayOptions, host: UnitContext<Config>, opened: Opened): Promise<RunningUnit> {
  const { bus, config, log } = host
  const topics = new Map<string, Topic>()
  for (const [name, source] of Object.entries(options.streams)) {
    topics.set(name, new Topic(bus, name, source))
  }
  opened.add(() => Promise.all([...topics.values()].map((topic) => topic.stop(() => farewell(config)))))
  const app = await createServer(config)
  opened.add(() => app.close())
  const rejected: Record<string, number> = {}
  const state = { draining: false }
  const heartbeat = setInterval(() => {
    for (const topic of topics.values()) topic.heartbeat(config.stuckMs)
  }, timerMs(config.heartbeatMs))
  opened.add(() => clearInterval(heartbeat))

  const stop = async () => {
    clearInterval(heartbeat)
    state.draining = true
    await Promise.all([...topics.values()].map((topic) => topic.stop(() => farewell(config))))
    await sleep(config.drainMs)
    await app.close()
  }

  app.setErrorHandler((error, request, reply) => {
    const known = error instanceof MyelinError
    // the path without the query, and no headers: they may hold tokens
    if (!known) log.error({ err: error, path: request.url.split('?')[0] }, 'a request failed')
    const status = known ? (statusOf[error.code] ?? 500) : ((error as { statusCode?: number }).statusCode ?? 500)
    const code = known ? error.code : status < 500 ? 'INVALID_INPUT' : 'INTERNAL'
    rejected[code] = (rejected[code] ?? 0) + 1
    if (status === 503 || status === 429) void reply.header('retry-after', '1')
    if (status === 401) void reply.header('www-authenticate', 'Bearer')
    void reply.status(status).send({
      code,
      message: known || status < 500 ? (error as Error).message : 'the request failed; the log says why',
    })
  })
  app.addHook('onRequest', async () => {
    if (state.draining) throw failure('DRAINING', 'this gateway is being stopped; another one answers in a moment')
  })
  const clients = await serveStreams(app, topics, config, log)
  if (config.metrics) {
    app.get('/metrics', async (_request, reply) => {
      const { type, text } = await metricsText(topics.values(), rejected)
      return reply.type(type).send(text)
    })
  }
  await allSettled([...topics.values()].map((topic) => topic.start()))
  await options.routes?.(app, host)
  log.info({ address: await listen(app, config) }, 'listening')
  const sum = (of: (topic: Topic) => number) => [...topics.values()].reduce((total, topic) => total + of(topic), 0)
  const rejectedTotal = () => Object.values(rejected).reduce((total, count) => total + count, 0)
  return {
    drain: stop,
    // a stream that cannot be read shows in the health checks and ends nothing: the others are served
    checks: Object.fromEntries(
      [...topics].map(([name, topic]) => [`stream ${name}`, { run: () => topic.health(), degrades: true }]),
    ),
    vitals: () => ({
      inFlight: clients.count,
      handled: sum(({ counters }) => counters.delivered),
      errors: rejectedTotal(),
    }),
    stats: () => ({
      clients: clients.count,
      rejected: rejectedTotal(),
      port: (app.server.address() as { port?: number } | null)?.port ?? 0,
      delivered: sum(({ counters }) => counters.delivered),
      dropped: sum(({ counters }) => counters.dropped),
      slow: sum(({ counters }) => counters.slow),
      bytes: sum(({ counters }) => counters.bytes),
    }),
  }
}

/** Spread out, so that not everybody knocks at the next door at once. */
function farewell({ retryMs, moveTo }: Config): string {
  const retry = `retry: ${Math.round(retryMs * (0.25 + Math.random()))}\n`
  return moveTo === undefined ? `${retry}\n` : `${retry}event: move\ndata: ${JSON.stringify({ url: moveTo })}\n\n`
}

const statusOf: Partial<Record<string, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  METHOD_NOT_ALLOWED: 405,
  STREAM_NOT_FOUND: 404,
  FILE_NOT_FOUND: 404,
  INVALID_OPTION: 400,
  INVALID_FILTER: 400,
  INVALID_INPUT: 400,
  TOO_MANY_CONNECTIONS: 429,
  OVERLOADED: 503,
  DRAINING: 503,
  NO_RESPONDERS: 503,
  DEADLINE_EXCEEDED: 504,
}
