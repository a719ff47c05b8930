// The server must not outlive its parent, even when the parent is killed −9 and can do nothing about it any more: a
// shell that waits on a pipe from the parent ends the server when the pipe closes. It costs one megabyte.
import { type ChildProcess, spawn } from 'node:child_process'

const script =
  'read -r line; [ "$line" = done ] && exit; kill -TERM "$0" 2>/dev/null; for i in 1 2 3 4 5; do sleep 1; kill -0 "$0" 2>/dev/null || exit; done; kill -KILL "$0" 2>/dev/null'

/** Ties a process to the life of this one. Call the result once that process has ended by itself. */
export function guard(pid: number): () => void {
  const shell: ChildProcess = spawn('/bin/sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => undefined) // no /bin/sh: the server then ends with the parent's normal exit only
  shell.unref()
  const pipe = shell.stdin as (NodeJS.WritableStream & { unref?(): void }) | null
  pipe?.on('error', () => undefined)
  pipe?.unref?.()
  return () => pipe?.end('done\n')
}
