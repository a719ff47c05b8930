// The server must not outlive its parent, even when the parent is killed −9 and can do nothing about it any more: a
// shell that waits on a pipe from the parent ends the server when the pipe closes. It costs one megabyte. The guard is
// there before the server is, so that there is no moment at which a killed parent leaves one behind.
import { type ChildProcess, spawn } from 'node:child_process'

const script = `
read -r pid || exit
read -r line
if [ "$line" != done ]; then
  kill -TERM "$pid" 2>/dev/null
  for i in 1 2 3 4 5; do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
  kill -KILL "$pid" 2>/dev/null
  [ -z "$1" ] || rm -rf "$1"
fi`

export interface Guard {
  /** Ties a process to the life of this one. */
  watch(pid: number): void
  /** That process has ended by itself, or there will be none. */
  release(): void
}

/** Starts a guard; `temporary` is a folder that it removes when this process did not live to do it. */
export function startGuard(temporary?: string): Guard {
  const shell: ChildProcess = spawn('/bin/sh', ['-c', script, 'myelin-guard', temporary ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => undefined) // no /bin/sh: the server then ends with the parent's normal exit only
  shell.unref()
  const pipe = shell.stdin as (NodeJS.WritableStream & { unref?(): void }) | null
  pipe?.on('error', () => undefined)
  pipe?.unref?.()
  return {
    watch: (pid) => void pipe?.write(`${pid}\n`),
    release: () => void pipe?.end('done\n'),
  }
}
