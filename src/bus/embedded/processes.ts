// Whether a process is still the one that was meant: after a crash its number may belong to somebody else.
import { readFile } from 'node:fs/promises'

export function alive(pid: number): boolean {
  if (!(pid > 0)) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When a process began, in the operating system's own count; undefined where that cannot be asked. */
export async function processStart(pid: number): Promise<string | undefined> {
  return (await fieldsOf(pid))?.[19]
}

/** What Linux tells of a process, from its state on; see proc_pid_stat(5). */
async function fieldsOf(pid: number): Promise<string[] | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // the name in parentheses may hold anything
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Whether a process lives, and began when it is said to have begun. */
export async function isStillThere(pid: number, start: string | undefined): Promise<boolean> {
  if (!alive(pid)) return false
  const fields = await fieldsOf(pid)
  if (!fields) return true
  // a killed process keeps its number until its own parent has looked
  return fields[0] !== 'Z' && (start === undefined || fields[19] === start)
}

/** Whether a number is a running nats-server of ours, or one that is about to be. */
export async function isNatsServer(pid: number): Promise<boolean> {
  if (!alive(pid)) return false
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  if (line === undefined) return process.platform !== 'linux'
  return line.includes('nats-server') || line.includes('myelin-server.conf')
}
