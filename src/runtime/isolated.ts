// An instance in a process of its own: started, listened to, drained within a bound, killed after it.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type ConnectOptions, failure, isErrorCode, MyelinError } from '../bus/index.ts'
import type { Life } from './instance.ts'

/** Told to a child over its channel: what it is told may hold secrets, which belong in no argument list. */
export type ToChild =
  | {
      readonly type: 'start'
      readonly unit: string
      readonly instance: string
      readonly site: string
      readonly use: string
      readonly folder: string
      readonly config: unknown
      readonly connect: ConnectOptions
      readonly revision: number
      /** Time between beats; 0: none. */
      readonly beatMs: number
    }
  | { readonly type: 'told'; readonly revision: number; readonly logLevel: string | undefined }
  | { readonly type: 'drain'; readonly goodbye: boolean }

export type FromChild =
  | { readonly type: 'ready'; readonly kind: string; readonly version: string }
  | { readonly type: 'stats'; readonly stats: Record<string, number>; readonly maxRssBytes: number }
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }

const startMs = 30_000

export async function startIsolated(
  start: Omit<Extract<ToChild, { type: 'start' }>, 'type'>,
  options: { drainMs: number },
): Promise<Life> {
  const fromSource = import.meta.filename.endsWith('.ts')
  const child = fork(fileURLToPath(new URL(fromSource ? './child.ts' : './child.js', import.meta.url)), [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Node's young generation grows to 32 MB a half by itself and is hardly ever all garbage-free: with 4 MB a feed of
    // 110,000 events per second needs 254 MB instead of 370, and no more time
    execArgv: ['--max-semi-space-size=4', ...(fromSource ? ['--conditions=myelin-source'] : [])],
    serialization: 'advanced',
  })
  const send = (message: ToChild) => {
    if (child.connected) child.send(message, () => undefined) // a child that is gone tells so by its exit
  }
  const ready = Promise.withResolvers<{ kind: string; version: string }>()
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  const exited = Promise.withResolvers<void>()
  let stats: Record<string, number> = {}
  let maxRssBytes = 0
  let told: MyelinError | undefined
  let draining = false

  child.on('message', (message: FromChild) => {
    if (message.type === 'ready') ready.resolve(message)
    else if (message.type === 'stats') ({ stats, maxRssBytes } = message)
    else if (message.type === 'finished') finished.resolve()
    else {
      const { code } = message
      told = isErrorCode(code) ? failure(code, message.message) : new MyelinError(code, message.message)
    }
  })
  child.on('error', (error) => {
    told ??= failure('UNIT_FAILED', `unit '${start.unit}': its process cannot be started`, { cause: error })
    ready.reject(told)
  })
  child.on('exit', (code, signal) => {
    const error =
      told ??
      failure(
        'UNIT_FAILED',
        `unit '${start.unit}': its process (pid ${child.pid}) ended with ${signal ?? `exit code ${code}`}`,
      )
    ready.reject(error)
    if (!draining) failed.resolve(error)
    exited.resolve()
  })
  const tooLate = setTimeout(() => {
    ready.reject(failure('UNIT_FAILED', `unit '${start.unit}' was not ready after ${startMs / 1_000} s`))
  }, startMs)

  send({ type: 'start', ...start })
  try {
    const { kind, version } = await ready.promise
    return {
      kind,
      version,
      pid: child.pid!,
      beats: start.beatMs > 0,
      stats: () => stats,
      vitals: () => ({}),
      checks: () => [],
      maxRssBytes: () => maxRssBytes,
      told: (revision, logLevel) => send({ type: 'told', revision, logLevel }),
      finished: finished.promise,
      failed: failed.promise,
      async drain(goodbye) {
        draining = true
        send({ type: 'drain', goodbye })
        let killed = false
        const timer = setTimeout(() => {
          killed = true
          child.kill('SIGKILL')
        }, options.drainMs)
        await exited.promise
        clearTimeout(timer)
        if (killed) {
          throw failure(
            'UNIT_FAILED',
            `unit '${start.unit}' (pid ${child.pid}) had not drained after ${options.drainMs / 1_000} s and was killed`,
          )
        }
      },
    }
  } catch (error) {
    draining = true
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(tooLate)
  }
}
