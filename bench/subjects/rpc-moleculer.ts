// Moleculer over NATS, with its parameter validation, as its documentation sets it up.
import { createRequire } from 'node:module'
import { loadOf } from './load.ts'
import { request } from './payload.ts'

const { ServiceBroker } = createRequire(import.meta.url)('moleculer')

const broker = (url: string, nodeID: string) =>
  new ServiceBroker({ nodeID, transporter: url, logger: false, requestTimeout: 5_000, metrics: false, tracing: false })

export async function serve(url: string) {
  const server = broker(url, 'server')
  server.createService({
    name: 'echo',
    actions: {
      echo: {
        params: { id: 'number', name: 'string', flags: { type: 'array', items: 'boolean' }, at: 'number', n: 'number' },
        handler: ({ params }: { params: unknown }) => params,
      },
    },
  })
  await server.start()
}

export async function call(url: string) {
  const caller = broker(url, 'caller')
  await caller.start()
  await caller.waitForServices('echo')
  return loadOf(() => caller.call('echo.echo', request))
}
