// One run of the nats-server process: started, ready, ended; with the last lines of its log at hand.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { now } from '../clock.ts'
import { failure, type MyelinError } from '../errors.ts'
import { startGuard } from './guard.ts'

const keptLines = 50

export interface ServerProcess {
  readonly pid: number
  readonly url: string
  readonly port: number
  readonly websocketUrl: string | undefined
  readonly monitorUrl: string | undefined
  /** Resolves with the reason when the process has ended. */
  readonly ended: Promise<string>
  lastLines(): string
  kill(signal: NodeJS.Signals): void
}

interface PortsFile {
  readonly nats?: string[]
  readonly monitoring?: string[]
  readonly websocket?: string[]
}

export interface ServerStart {
  readonly binary: string
  readonly configPath: string
  /** Where it says which ports it got. */
  readonly portsDir: string
  readonly memoryLimitBytes?: number | undefined
  /** A folder that goes with the server when this process cannot remove it any more. */
  readonly temporary?: string | undefined
  /** Its process is there and has not begun: the last moment to write down which one it is. */
  readonly onSpawned: (pid: number) => Promise<void>
  /** What it says, as it says it. */
  readonly onLog?: (text: string) => void
}

const readyMs = 20_000
// a shell that becomes the server when it is told to: when its parent is gone before that, it becomes nothing
const whenAsked = 'read -r go && [ "$go" = go ] && exec "$@" </dev/null'

/** Starts a server and resolves when it takes connections. @throws MyelinError PORT_TAKEN, STORE_LOCKED, SERVER_FAILED */
export async function startServer(start: ServerStart): Promise<ServerProcess> {
  const { binary, configPath, portsDir, memoryLimitBytes } = start
  await removePortsFiles(portsDir)
  const guard = startGuard(start.temporary)
  const server = [binary, '-c', configPath]
  const [command, ...args] =
    process.platform === 'win32' ? server : ['/bin/sh', '-c', whenAsked, 'myelin-server', ...server]
  // a session of its own: Ctrl-C in the terminal must not end the server before its units have drained
  const child: ChildProcess = spawn(command!, args, {
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
    env: memoryLimitBytes === undefined ? process.env : { GOMEMLIMIT: String(memoryLimitBytes), ...process.env },
  })
  child.stdin?.on('error', () => undefined) // it ended before it was told
  const lines: string[] = []
  child.stderr?.setEncoding('utf8')
  child.stderr?.on('data', (text: string) => {
    lines.push(...text.split('\n').filter(Boolean))
    if (lines.length > keptLines) lines.splice(0, lines.length - keptLines)
    start.onLog?.(text)
  })
  let over: string | undefined
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`it could not be started: ${error.message}`))
    child.once('exit', (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with code ${code}`))
  })
  void ended.then((reason) => {
    over = reason
    guard.release()
  })
  if (child.pid !== undefined) {
    guard.watch(child.pid)
    try {
      await start.onSpawned(child.pid)
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }
  child.stdin?.end('go\n')
  child.unref()
  ;(child.stderr as unknown as { unref?(): void } | null)?.unref?.()
  const lastLines = () => lines.map(withoutStamp).join('\n')

  const giveUp = now() + readyMs
  for (;;) {
    if (over !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 10)) // its last words are still in the pipe
      throw startFailure(over, lastLines())
    }
    const ports = await readPorts(portsDir, child.pid)
    if (ports?.nats?.[0]) {
      const { hostname, port } = new URL(ports.nats[0])
      return {
        pid: child.pid!,
        url: `nats://${hostname}:${port}`,
        port: Number(port),
        websocketUrl: ports.websocket?.[0],
        monitorUrl: ports.monitoring?.[0],
        ended,
        lastLines,
        kill: (signal) => void child.kill(signal),
      }
    }
    if (now() > giveUp) {
      child.kill('SIGKILL')
      throw failure('SERVER_FAILED', `nats-server was not ready within ${readyMs} ms:\n${lastLines()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
}

async function readPorts(folder: string, pid: number | undefined): Promise<PortsFile | undefined> {
  try {
    const name = (await readdir(folder)).find((file) => file.endsWith(`_${pid}.ports`))
    return name ? (JSON.parse(await readFile(join(folder, name), 'utf8')) as PortsFile) : undefined
  } catch {
    return undefined // not written to the end yet
  }
}

export async function removePortsFiles(folder: string): Promise<void> {
  for (const file of await readdir(folder).catch(() => [])) {
    if (file.endsWith('.ports')) await rm(join(folder, file), { force: true })
  }
}

function startFailure(reason: string, log: string): MyelinError {
  const taken = /listen tcp ([^ ]+): bind: address already in use/.exec(log)
  if (taken) return failure('PORT_TAKEN', `${taken[1]} is in use by another process`)
  return failure('SERVER_FAILED', `nats-server ${reason}:\n${log}`)
}

/** A log line without pid and time: `[123] 2026/01/01 … [ERR] text` → `[ERR] text`. */
function withoutStamp(line: string): string {
  return line.replace(/^\[\d+\] \S+ \S+ /, '')
}
