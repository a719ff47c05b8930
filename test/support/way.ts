import { createServer, type Server, type Socket, connect as tcp } from 'node:net'

/** A way to the server that can be cut without anybody being told: what is under way then is lost on both sides. */
export async function wayTo(url: string): Promise<{ url: string; cut(): void } & AsyncDisposable> {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = tcp(Number(port), hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('data', (bytes) => other.write(bytes))
      one.on('close', () => other.destroy())
      one.on('error', () => undefined)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: own } = server.address() as { port: number }
  return {
    url: `nats://127.0.0.1:${own}`,
    cut: () => {
      for (const socket of sockets) socket.pause().removeAllListeners()
      sockets.clear()
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
