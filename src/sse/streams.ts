// GET /streams/<name>: who asks, what for, whether there is room; then the connection belongs to its topic.
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { failure } from '../bus/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { type Grant, type Guard, guardOf } from './auth.ts'
import { SseClient } from './client.ts'
import type { Config } from './config.ts'
import { openStream, streamHeaders } from './connection.ts'
import { type Pending, watchPending } from './pending.ts'
import { type Filters, positionOf, type Query, selectionOf } from './request.ts'
import type { Topic } from './topic.ts'

type StreamRequest = FastifyRequest<{ Params: { name: string }; Querystring: Query }>

/** How many are connected, in all and by address; who has connected and not asked yet holds a place as well. */
class Clients {
  count = 0
  readonly #byAddress = new Map<string, number>()
  readonly #pending: Pending
  constructor(pending: Pending) {
    this.#pending = pending
  }

  /** @throws MyelinError OVERLOADED, TOO_MANY_CONNECTIONS */
  admit(address: string, { maxClients, maxClientsPerAddress }: Config): void {
    const connected = this.count + this.#pending.count
    if (connected >= maxClients) throw failure('OVERLOADED', `${connected} clients are connected, which is the limit`)
    const here = this.#byAddress.get(address) ?? 0
    if (maxClientsPerAddress !== undefined && here + this.#pending.of(address) >= maxClientsPerAddress) {
      throw failure('TOO_MANY_CONNECTIONS', `${here} event streams are open from this address, which is the limit`)
    }
    this.count += 1
    this.#byAddress.set(address, here + 1)
  }

  release(address: string): void {
    this.count -= 1
    const here = (this.#byAddress.get(address) ?? 1) - 1
    if (here === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, here)
  }
}

/** @throws MyelinError INVALID_CONFIG */
export async function serveStreams(
  app: FastifyInstance,
  topics: ReadonlyMap<string, Topic>,
  config: Config,
  log: Logger,
): Promise<{ readonly count: number }> {
  const guard: Guard | undefined = config.auth && (await guardOf(config.auth))
  const clients = new Clients(watchPending(app.server))
  const filters: Filters = new Map()

  app.addHook('onRequest', async (request, reply) => {
    if (!request.url.startsWith('/streams/')) return
    // of every answer, so that no cache gives one origin's or encoding's to another, and none keeps an error
    void reply.headers({ 'cache-control': 'no-store', ...corsHeaders(request.headers.origin, config), vary })
    if (!methods.includes(request.method)) {
      void reply.header('allow', methods.join(', '))
      throw failure(
        'METHOD_NOT_ALLOWED',
        `${request.method} ${request.url.split('?')[0]}: event streams are read with GET`,
      )
    }
  })

  const asked = async (request: StreamRequest) => {
    const { name } = request.params
    // first who asks: strangers do not learn which streams there are
    const grant = await guard?.(request.headers, name)
    const topic = topics.get(name)
    if (!topic) {
      const others = grant ? '' : `; there are: ${[...topics.keys()].join(', ')}`
      throw failure('STREAM_NOT_FOUND', `there is no stream ${JSON.stringify(name)}${others}`)
    }
    const { source } = topic
    const selection = selectionOf(request.query, request.headers, { source, grant, filters, gzip: config.gzip })
    const position = positionOf(request.query, request.headers, source)
    return { topic, grant, selection, position }
  }

  app.options('/streams/:name', (_request, reply) => {
    void reply.status(204).headers({
      'access-control-allow-methods': 'GET',
      'access-control-allow-headers': 'authorization, last-event-id, cache-control',
      'access-control-max-age': '600',
    })
    return reply.send()
  })
  // what GET would begin with, and no more: an event stream has no end
  app.head('/streams/:name', async (request: StreamRequest, reply) => {
    const { selection } = await asked(request)
    return reply.headers(streamHeaders(selection.gzip)).send()
  })
  app.get('/streams/:name', { exposeHeadRoute: false }, async (request: StreamRequest, reply) => {
    const { topic, grant, selection, position } = await asked(request)
    if (!isAlone(reply.raw)) {
      throw failure('INVALID_OPTION', 'an event stream has no end, so nothing can follow it on a pipelined connection')
    }
    const address = request.ip
    clients.admit(address, config)
    const headers = { ...corsHeaders(request.headers.origin, config), vary }
    const client = connected(reply, headers, topic, selection, config, () => clients.release(address))
    endWith(client, grant)
    topic.add(client, selection, position).catch((error) => {
      log.warn({ err: error, stream: topic.name }, 'a client could not be served')
      client.end()
    })
  })
  return clients
}

const vary = 'origin, accept-encoding'
const methods = ['GET', 'HEAD', 'OPTIONS']

/** Whether a response may be written now: on a pipelined connection it waits for the ones before it. */
const isAlone = (response: object): boolean => 'stream' in response || (response as ServerResponse).socket !== null

function connected(
  reply: FastifyReply,
  headers: Record<string, string>,
  topic: Topic,
  selection: Parameters<Topic['add']>[1],
  config: Config,
  onClose: () => void,
): SseClient {
  const { policy, maxBuffered = config.maxBuffered } = topic.source
  const { gzip } = selection
  reply.hijack()
  const sink = openStream(reply.raw as ServerResponse, headers, gzip)
  const options = { policy, maxBuffered, maxBufferedBytes: config.maxBufferedBytes, gzip }
  const client = new SseClient(sink, options, topic.counters, () => {
    topic.remove(client, selection)
    onClose()
  })
  // a little jitter: not everybody at once after a restart
  client.say(`retry: ${Math.round(config.retryMs * (0.75 + Math.random() / 2))}\n\n`)
  return client
}

const longestTimerMs = 2 ** 31 - 1

/** A connection lives no longer than the token it was opened with. */
function endWith(client: SseClient, grant: Grant | undefined): void {
  const endsAtMs = grant?.expiresAtMs
  if (endsAtMs === undefined) return
  let timer: NodeJS.Timeout
  const look = () => {
    const leftMs = endsAtMs - Date.now()
    if (leftMs <= 0) client.end()
    else timer = setTimeout(look, Math.min(leftMs, longestTimerMs))
  }
  look()
  client.onGone(() => clearTimeout(timer))
}

function corsHeaders(origin: string | undefined, { cors, corsCredentials }: Config): Record<string, string> {
  if (cors === undefined || origin === undefined) return {}
  const allowed = typeof cors === 'string' ? [cors] : cors
  if (!allowed.includes(origin) && !allowed.includes('*')) return {}
  return {
    // with credentials browsers want to see their own origin, not '*'
    'access-control-allow-origin': allowed.includes('*') && !corsCredentials ? '*' : origin,
    ...(corsCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
  }
}
