// The HTTP server under the gateway: HTTP/1.1, or with a certificate HTTP/2 as well.
import { readFile } from 'node:fs/promises'
import { type FastifyInstance, fastify } from 'fastify'
import { failure } from '../bus/index.ts'
import type { Config } from './config.ts'

/** @throws MyelinError FILE_NOT_FOUND for a certificate or key that cannot be read */
export async function createServer({ tls, trustProxy }: Config): Promise<FastifyInstance> {
  const common = { forceCloseConnections: true, trustProxy } as const
  if (!tls) return fastify(common)
  const read = (file: string, what: string) =>
    readFile(file).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `config.tls.${what}: ${file} cannot be read`, { cause })
    })
  const [cert, key] = await Promise.all([read(tls.certFile, 'certFile'), read(tls.keyFile, 'keyFile')])
  const app = fastify({ ...common, http2: true, https: { allowHTTP1: true, cert, key } })
  // routes are written against the common part of both; only the raw request and response differ
  return app as unknown as FastifyInstance
}

/** @throws MyelinError PORT_TAKEN */
export async function listen(app: FastifyInstance, { port, host }: Config): Promise<string> {
  return app.listen({ port, host }).catch((cause) => {
    if (cause.code === 'EADDRINUSE')
      throw failure('PORT_TAKEN', `port ${port} of ${host} is in use by another process`, { cause })
    throw cause
  })
}
