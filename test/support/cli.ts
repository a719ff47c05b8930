// The `myelin` command as a process of its own, against a test's server.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { NatsFixture } from './nats.ts'

export const root = join(import.meta.dirname, '../..')
export const main = join(root, 'src/cli/main.ts')

export interface Ran {
  code: number | null
  out: string
  err: string
}

export function commandLine(nats: NatsFixture) {
  const start = (args: string[], env: Record<string, string> = {}, input = '') => {
    const child = spawn(process.execPath, ['--conditions=myelin-source', main, ...args], {
      env: { ...process.env, NATS_URL: nats.server?.url ?? '', ...env },
      cwd: root,
    })
    const ran: Ran = { code: null, out: '', err: '' }
    child.stdout.on('data', (chunk) => {
      ran.out += chunk
    })
    child.stderr.on('data', (chunk) => {
      ran.err += chunk
    })
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
    const ended = new Promise<Ran>((resolve) => {
      child.on('close', (code) => resolve(Object.assign(ran, { code })))
    })
    return { child, ran, ended }
  }
  return { start, myelin: (...args: string[]) => start(args).ended }
}
