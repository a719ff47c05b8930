// GET /streams/<name>: who asks, what for, whether there is room; then the connection belongs to its topic.
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { failure } from '../bus/index.ts'
import type { Logger } from '../unit/index.ts'
import { type Grant, type Guard, guardOf } from './auth.ts'
import { SseClient } from './client.ts'
import type { Config } from './config.ts'
import { openStream } from './connection.ts'
import { type Filters, positionOf, type Query, selectionOf } from './request.ts'
import type { Topic } from './topic.ts'

type StreamRequest = FastifyRequest<{ Params: { name: string }; Querystring: Query }>

/** How many are connected, in all and by address. */
class Clients {
  count = 0
  readonly #byAddress = new Map<string, number>()

  /** @throws MyelinError OVERLOADED, TOO_MANY_CONNECTIONS */
  admit(address: string, { maxClients, maxClientsPerAddress }: Config): void {
    if (this.count >= maxClients) throw failure('OVERLOADED', `${this.count} clients are connected, which is the limit`)
    const here = this.#byAddress.get(address) ?? 0
    if (maxClientsPerAddress !== undefined && here >= maxClientsPerAddress) {
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
  const clients = new Clients()
  const filters: Filters = new Map()

  app.options('/streams/:name', (request, reply) => {
    void reply.status(204).headers({
      ...corsHeaders(request.headers.origin, config),
      'access-control-allow-methods': 'GET',
      'access-control-allow-headers': 'authorization, last-event-id, cache-control',
      'access-control-max-age': '600',
    })
    return reply.send()
  })
  app.get('/streams/:name', async (request: StreamRequest, reply) => {
    const cors = corsHeaders(request.headers.origin, config)
    void reply.headers(cors) // for refusals; what is streamed has its own head
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
    if (!isAlone(reply.raw)) {
      throw failure('INVALID_OPTION', 'an event stream has no end, so nothing can follow it on a pipelined connection')
    }
    const address = request.ip
    clients.admit(address, config)
    const client = connected(reply, { ...cors, vary: 'origin, accept-encoding' }, topic, selection, config, () =>
      clients.release(address),
    )
    endWith(client, grant)
    topic.add(client, selection, position).catch((error) => {
      log.warn({ err: error, stream: topic.name }, 'a client could not be served')
      client.end()
    })
  })
  return clients
}

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
  if (grant?.expiresAtMs === undefined) return
  const left = Math.min(grant.expiresAtMs - Date.now(), longestTimerMs)
  const timer = setTimeout(() => client.end(), Math.max(0, left))
  client.onGone(() => clearTimeout(timer))
}

function corsHeaders(origin: string | undefined, { cors, corsCredentials }: Config): Record<string, string> {
  if (cors === undefined || origin === undefined) return {}
  const allowed = typeof cors === 'string' ? [cors] : cors
  if (!allowed.includes(origin) && !allowed.includes('*')) return {}
  return {
    // with credentials browsers want to see their own origin, not '*'
    'access-control-allow-origin': allowed.includes('*') && !corsCredentials ? '*' : origin,
    vary: 'origin',
    ...(corsCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
  }
}
