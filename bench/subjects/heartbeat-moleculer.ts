// Moleculer's heartbeat at one beat a second: a node that is killed, and one that watches.
import { createRequire } from 'node:module'

const { ServiceBroker } = createRequire(import.meta.url)('moleculer')

import { stalling } from './stalls.ts'

const broker = (url: string, nodeID: string) =>
  new ServiceBroker({ nodeID, transporter: url, logger: false, heartbeatInterval: 1, heartbeatTimeout: 3 })

export async function node(url: string) {
  await broker(url, `node-${process.pid}`).start()
  return async ({ stall }: { stall?: boolean }) => {
    stalling(stall)
    return process.pid
  }
}

export async function watch(url: string) {
  const watcher = broker(url, 'watcher')
  const gone = new Map<string, number>()
  watcher.localBus.on('$node.disconnected', ({ node }: { node: { id: string } }) => gone.set(node.id, Date.now()))
  await watcher.start()
  return async ({ pid, stall, deaths }: { pid?: number; stall?: boolean; deaths?: boolean }) => {
    stalling(stall)
    if (deaths) return gone.size
    if (pid === undefined) {
      gone.clear()
      return 0
    }
    while (!gone.has(`node-${pid}`)) await new Promise((resolve) => setTimeout(resolve, 20))
    return gone.get(`node-${pid}`)
  }
}
