// The SSE microservice: streams of NATS as text/event-stream for any browser, `new EventSource(url)` and nothing else.
//
// Promise: of what is kept (views, durable events) a client that comes back with its Last-Event-ID gets everything it
// missed, once and in order; of a view, a client too slow for every row gets the latest of each key.
// Source: WHATWG HTML, server-sent events.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type FastifyInstance, fastify } from 'fastify'
import { z } from 'zod'
import { failure, MyelinError } from '../bus/index.ts'
import { defineUnit, type RunningUnit, type Unit, type UnitHost } from '../unit/index.ts'
import { SseClient } from './client.ts'
import type { SseSource } from './source.ts'
import { Topic } from './topic.ts'

const Config = z.object({
  port: z.number().int().min(0).max(65_535).default(4280).describe('HTTP port; 0: a free one'),
  host: z.string().default('127.0.0.1').describe('address to listen on'),
  maxClients: z.number().int().positive().default(10_000).describe('more are refused with 503'),
  maxBuffered: z.number().int().positive().default(1_000).describe('frames that wait for one slow client'),
  heartbeatMs: z.number().int().positive().default(15_000).describe('comment lines on quiet connections'),
  retryMs: z.number().int().positive().default(1_000).describe('when a browser comes back after a lost connection'),
  cors: z.string().optional().describe('allowed origin; absent: same origin only'),
})
type Config = z.output<typeof Config>

export interface GatewayOptions {
  readonly name?: string
  readonly description?: string
  /** What is offered, at `GET /streams/<name>`. */
  readonly streams: Readonly<Record<string, SseSource>>
  /** More routes on the same server: pages, an API. */
  readonly routes?: (app: FastifyInstance, host: UnitHost<Config>) => void | Promise<void>
}

/**
 * Defines an SSE gateway.
 *
 * @example
 * export default sseGateway({ name: 'board', streams: { delays: fromView(delaysView), progress: fromEvent(flights, 'progress') } })
 * // in the browser: new EventSource('/streams/delays').addEventListener('delays', (e) => show(JSON.parse(e.data)))
 */
export function sseGateway(options: GatewayOptions): Unit<Config> {
  return defineUnit<Config>({
    kind: 'sse',
    name: options.name ?? 'sse',
    ...(options.description ? { description: options.description } : {}),
    config: Config,
    start: (host) => start(options, host),
  })
}

async function start(options: GatewayOptions, host: UnitHost<Config>): Promise<RunningUnit> {
  const { bus, config, log } = host
  const topics = new Map<string, Topic>()
  for (const [name, source] of Object.entries(options.streams)) topics.set(name, new Topic(bus, name, source))
  const app = fastify({ forceCloseConnections: true })
  let clients = 0
  let refused = 0
  const stop = async () => {
    clearInterval(heartbeat)
    await Promise.all([...topics.values()].map((topic) => topic.stop()))
    await app.close()
  }
  const heartbeat = setInterval(() => {
    for (const topic of topics.values()) topic.heartbeat()
  }, config.heartbeatMs)

  app.setErrorHandler((error, _request, reply) => {
    const known = error instanceof MyelinError
    if (!known) log.error({ err: error }, 'a request failed')
    const status = known ? (statusOf[error.code] ?? 500) : ((error as { statusCode?: number }).statusCode ?? 500)
    void reply.status(status).send({
      code: known ? error.code : status < 500 ? 'INVALID_INPUT' : 'INTERNAL',
      message: known || status < 500 ? (error as Error).message : 'the request failed; the log tells why',
    })
  })
  app.get<{ Params: { name: string }; Querystring: Record<string, string> }>(
    '/streams/:name',
    async (request, reply) => {
      const topic = topics.get(request.params.name)
      if (!topic) {
        throw failure(
          'STREAM_NOT_FOUND',
          `there is no stream "${request.params.name}"; there are: ${[...topics.keys()].join(', ')}`,
        )
      }
      const lastId = lastEventId(request.raw, request.query)
      const everyMs = numberOf(request.query.every, 'every', 0, 60_000) ?? 0
      if (everyMs > 0 && topic.source.policy !== 'coalesce') {
        throw failure('INVALID_OPTION', 'every: only a view can be thinned out; its rows replace each other')
      }
      if (clients >= config.maxClients) {
        refused += 1
        throw failure('OVERLOADED', `${clients} clients are connected, which is the limit`)
      }
      reply.hijack()
      open(reply.raw, config)
      clients += 1
      const client = new SseClient(
        reply.raw,
        { policy: topic.source.policy, maxBuffered: config.maxBuffered, everyMs, key: request.query.key },
        () => {
          clients -= 1
          topic.remove(client)
        },
      )
      await topic.add(client, lastId).catch((error) => {
        log.warn({ err: error, stream: topic.name }, 'a client could not be served')
        client.end()
      })
    },
  )
  try {
    await Promise.all([...topics.values()].map((topic) => topic.start()))
    await options.routes?.(app, host)
    const address = await app.listen({ port: config.port, host: config.host }).catch((cause) => {
      if (cause.code === 'EADDRINUSE')
        throw failure('PORT_TAKEN', `port ${config.port} of ${config.host} is in use by another process`, { cause })
      throw cause
    })
    log.info({ address }, 'listening')
  } catch (error) {
    await stop()
    throw error
  }
  return {
    drain: stop,
    vitals: () => ({
      inFlight: clients,
      handled: [...topics.values()].reduce((sum, topic) => sum + topic.delivered, 0),
      errors: refused,
    }),
    stats: () => ({
      clients,
      refused,
      port: (app.server.address() as { port?: number } | null)?.port ?? 0,
      delivered: [...topics.values()].reduce((sum, topic) => sum + topic.delivered, 0),
    }),
  }
}

const statusOf: Partial<Record<string, number>> = {
  STREAM_NOT_FOUND: 404,
  INVALID_OPTION: 400,
  INVALID_INPUT: 400,
  OVERLOADED: 503,
  NO_RESPONDERS: 503,
  DEADLINE_EXCEEDED: 504,
}

function open(response: ServerResponse, { retryMs, cors }: Config): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    ...(cors ? { 'access-control-allow-origin': cors } : {}),
  })
  // a little jitter: not everybody at once after a restart
  response.write(`retry: ${Math.round(retryMs * (0.75 + Math.random() / 2))}\n\n`)
}

/** From the header that browsers send, or from the query for the first request. @throws MyelinError INVALID_OPTION */
function lastEventId(request: IncomingMessage, query: Record<string, string>): number | undefined {
  const header = request.headers['last-event-id']
  return numberOf(typeof header === 'string' ? header : query.lastEventId, 'Last-Event-ID', 0, Number.MAX_SAFE_INTEGER)
}

function numberOf(text: string | undefined, what: string, from: number, to: number): number | undefined {
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < from || value > to)
    throw failure(
      'INVALID_OPTION',
      `${what}: expected a whole number from ${from} to ${to}, got ${JSON.stringify(text)}`,
    )
  return value
}
