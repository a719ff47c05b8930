// A process that starts an embedded server and is killed −9, at whatever moment; and what must hold afterwards.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { embeddedNats } from '../../src/bus/index.ts'
import { until } from './nats.ts'

const script = `
import { embeddedNats } from 'myelin/bus'
const [storeDir] = process.argv.slice(1).filter(Boolean)
try {
  const { pid, url, storeDir: used } = await embeddedNats(storeDir ? { storeDir } : {})
  console.log(JSON.stringify({ pid, url, storeDir: used }))
} catch (error) {
  console.log(JSON.stringify({ code: error.code }))
  process.exit(1)
}
setInterval(() => {}, 1000)`

interface Report {
  readonly pid: number
  readonly url: string
  readonly storeDir: string
  readonly code?: string
}

export function startParent(storeDir = '') {
  const child = spawn(process.execPath, ['--conditions=myelin-source', '--input-type=module', '-e', script, storeDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: join(import.meta.dirname, '../..'),
  })
  const ready = new Promise<Report>((resolve) => {
    child.stdout.once('data', (data) => resolve(JSON.parse(String(data))))
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return { ready, exited, kill: () => child.kill('SIGKILL') }
}

/** Processes of nats-server that work on a store. */
function serversOn(storeDir: string): number[] {
  try {
    const found = execFileSync('pgrep', ['-f', `^[^ ]*nats-server.* -c ${storeDir}/`], { encoding: 'utf8' })
    return found.trim().split('\n').map(Number)
  } catch {
    return []
  }
}

const newFolder = () => mkdtemp(join(tmpdir(), 'myelin-test-'))

/** Kills a parent at a moment of its server's start, and starts the next server at once. */
export async function parentsKilled(rounds: number): Promise<void> {
  const storeDir = await newFolder()
  const lock = join(storeDir, 'myelin-server.json')
  for (let round = 0; round < rounds; round++) {
    const parent = startParent(storeDir)
    // from the moment at which it has the lock to a good while after its server is ready
    await until(() => execFileSync('sh', ['-c', `[ -e ${lock} ] && echo yes || echo no`]).toString() === 'yes\n')
    await new Promise((resolve) => setTimeout(resolve, (round * 97) % 120))
    parent.kill()
    await parent.exited
    let most = 0
    const watching = setInterval(() => {
      most = Math.max(most, serversOn(storeDir).length)
    }, 20)
    const next = await embeddedNats({ storeDir })
    expect(serversOn(storeDir)).toEqual([next.pid])
    await next.stop()
    clearInterval(watching)
    expect(most).toBeLessThanOrEqual(1)
    await until(() => serversOn(storeDir).length === 0)
  }
  await rm(storeDir, { recursive: true, force: true })
}

/** Starts several at once on the lock of a dead one: one gets the store, the others are told so. */
export async function manyAtOnce(rounds: number): Promise<void> {
  const storeDir = await newFolder()
  for (let round = 0; round < rounds; round++) {
    const first = startParent(storeDir)
    const { pid } = await first.ready
    first.kill()
    await first.exited
    process.kill(pid, 'SIGKILL') // its guard would take a moment
    const rivals = [1, 2, 3].map(() => startParent(storeDir))
    const results = await Promise.all(rivals.map(({ ready }) => ready))
    expect(results.filter(({ code }) => code === undefined)).toHaveLength(1)
    expect(results.filter(({ code }) => code === 'STORE_LOCKED')).toHaveLength(2)
    expect(serversOn(storeDir)).toHaveLength(1)
    for (const rival of rivals) rival.kill()
    await until(() => serversOn(storeDir).length === 0)
  }
  await rm(storeDir, { recursive: true, force: true })
}
