// A cluster of real nats-servers on loopback, in temporary folders: nodes are killed, frozen and started again.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findNatsServer } from '../../src/bus/embedded/binary.ts'
import { type Bus, connect, streamInfo } from '../../src/bus/index.ts'
import { until } from './nats.ts'

export interface Cluster extends AsyncDisposable {
  /** Addresses of all nodes, for `connect` and NATS_URL. */
  readonly urls: readonly string[]
  /** Node numbers that run; a frozen one runs. */
  readonly running: readonly number[]
  /** Starts a node that does not run, on its old store; resolves when it accepts clients. */
  start(node: number): Promise<void>
  /** Ends a node: SIGKILL, or SIGTERM for a clean stop. */
  kill(node: number, signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** Stops a node in its tracks, and lets it go on. */
  freeze(node: number): void
  thaw(node: number): void
  /** The node that leads the cluster's JetStream. */
  metaLeader(): Promise<number>
  /** The node that leads a stream. */
  leaderOf(bus: Bus, stream: string): Promise<number>
  /** Resolves when JetStream answers and every stream has all its replicas up to date. */
  settled(withinMs?: number): Promise<void>
  stop(): Promise<void>
}

export interface ClusterOptions {
  readonly size?: number
  /** Lines added to every node's configuration. */
  readonly extraConfig?: string
}

/** Starts a cluster; resolves when its JetStream has a leader. */
export async function natsCluster({ size = 3, extraConfig = '' }: ClusterOptions = {}): Promise<Cluster> {
  const binary = await findNatsServer()
  const folder = await mkdtemp(join(tmpdir(), 'myelin-cluster-'))
  const ports = await freePorts(3 * size)
  const nodes = Array.from({ length: size }, (_, node) => {
    const [client, routes, monitor] = ports.slice(3 * node) as [number, number, number]
    return { name: `n${node}`, client, routes, monitor, file: join(folder, `n${node}.conf`) }
  })
  const processes = new Map<number, ChildProcess>()
  for (const { name, client, routes, monitor, file } of nodes) {
    const others = nodes.map((other) => `"nats://127.0.0.1:${other.routes}"`).join(', ')
    const lines = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${client}"`,
      `http: "127.0.0.1:${monitor}"`,
      `jetstream { store_dir: ${JSON.stringify(join(folder, name))} }`,
      `cluster { name: myelin, listen: "127.0.0.1:${routes}", routes: [${others}] }`,
      extraConfig,
    ]
    await writeFile(file, lines.join('\n'))
  }
  const atExit = () => {
    for (const child of processes.values()) child.kill('SIGKILL')
  }
  process.on('exit', atExit)

  const asked = async <Answer>(node: number, path: string): Promise<Answer | undefined> => {
    const answer = await fetch(`http://127.0.0.1:${nodes[node]!.monitor}/${path}`, {
      signal: AbortSignal.timeout(2_000),
    }).catch(() => undefined)
    return answer?.ok ? ((await answer.json()) as Answer) : undefined
  }

  const cluster: Cluster = {
    urls: nodes.map(({ client }) => `nats://127.0.0.1:${client}`),
    get running() {
      return [...processes.keys()].sort()
    },
    async start(node) {
      if (processes.has(node)) throw new Error(`node ${node} runs already`)
      const child = spawn(binary, ['-c', nodes[node]!.file, '-l', `${nodes[node]!.file}.log`], { stdio: 'ignore' })
      processes.set(node, child)
      child.once('exit', () => {
        if (processes.get(node) === child) processes.delete(node)
      })
      await until(async () => (await asked(node, 'healthz?js-server-only=true')) !== undefined, 30_000)
    },
    async kill(node, signal = 'SIGKILL') {
      const child = processes.get(node)
      if (!child) return
      child.kill(signal)
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      processes.delete(node)
    },
    freeze: (node) => void processes.get(node)?.kill('SIGSTOP'),
    thaw: (node) => void processes.get(node)?.kill('SIGCONT'),
    async metaLeader() {
      let found = -1
      await until(async () => {
        for (const node of cluster.running) {
          const reply = await asked<{ meta_cluster?: { leader?: string } }>(node, 'jsz')
          found = nodes.findIndex(({ name }) => name === reply?.meta_cluster?.leader)
          if (cluster.running.includes(found)) return true
        }
        return false
      }, 60_000)
      return found
    },
    async leaderOf(bus, stream) {
      let found = -1
      await until(async () => {
        const info = await streamInfo(bus, stream).catch(() => undefined)
        found = nodes.findIndex(({ name }) => name === info?.cluster?.leader)
        return found >= 0
      }, 60_000)
      return found
    },
    async settled(withinMs = 180_000) {
      await until(async () => {
        const answers = await Promise.all(cluster.running.map((node) => asked<{ status: string }>(node, 'healthz')))
        return answers.length === size && answers.every((answer) => answer?.status === 'ok')
      }, withinMs)
    },
    async stop() {
      process.off('exit', atExit)
      for (const node of cluster.running) cluster.thaw(node)
      await Promise.all(cluster.running.map((node) => cluster.kill(node)))
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
    async [Symbol.asyncDispose]() {
      await cluster.stop()
    },
  }
  try {
    await Promise.all(nodes.map((_, node) => cluster.start(node)))
    await cluster.metaLeader()
    const bus = await connect({ servers: [...cluster.urls], requires: { jetstream: true } })
    await bus.close()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

/** Ports that nobody listens on now. */
async function freePorts(count: number): Promise<number[]> {
  const holders = await Promise.all(
    Array.from({ length: count }, async () => {
      const holder = createServer().listen(0, '127.0.0.1')
      await once(holder, 'listening')
      return holder
    }),
  )
  const ports = holders.map((holder) => (holder.address() as { port: number }).port)
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))))
  return ports
}
