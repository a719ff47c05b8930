// The HTTP server under the gateway: HTTP/1.1, or with a certificate HTTP/2 as well.
import { readFile } from 'node:fs/promises'
import { type FastifyInstance, fastify } from 'fastify'
import { failure, timerMs } from '../bus/internal.ts'
import type { Config } from './config.ts'

/** Connections beyond the clients there may be: pages, metrics, and whoever is rejected because there is no room. */
const moreConnections = 1_000

/** @throws MyelinError FILE_NOT_FOUND for a certificate or key that cannot be read */
export async function createServer(config: Config): Promise<FastifyInstance> {
  const { tls, trustProxy } = config
  const [requestMs, idleMs] = [timerMs(config.requestMs), timerMs(config.idleMs)]
  const common = {
    forceCloseConnections: true,
    trustProxy,
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    http2SessionTimeout: idleMs,
  } as const
  // a slow half request holds a connection no longer than a whole one takes (node looks every half minute by itself)
  const limits = {
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    handshakeTimeout: requestMs,
    connectionsCheckingInterval: Math.min(requestMs / 2, 1_000),
  }
  const bounded = (app: FastifyInstance) => {
    app.server.maxConnections = config.maxClients + moreConnections
    return app
  }
  if (!tls) return bounded(fastify({ ...common, http: limits }))
  const read = (file: string, what: string) =>
    readFile(file).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `config.tls.${what}: ${file} cannot be read`, { cause })
    })
  const [cert, key] = await Promise.all([read(tls.certFile, 'certFile'), read(tls.keyFile, 'keyFile')])
  const app = fastify({ ...common, http2: true, https: { ...limits, allowHTTP1: true, cert, key } })
  // routes are written against the common part of both; only the raw request and response differ
  return bounded(app as unknown as FastifyInstance)
}

/** @throws MyelinError PORT_TAKEN */
export async function listen(app: FastifyInstance, { port, host }: Config): Promise<string> {
  return app.listen({ port, host }).catch((cause) => {
    if (cause.code === 'EADDRINUSE')
      throw failure('PORT_TAKEN', `port ${port} of ${host} is in use by another process`, { cause })
    throw cause
  })
}
