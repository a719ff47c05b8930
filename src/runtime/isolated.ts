// An instance in a process or a worker thread of its own: started, listened to, drained within a bound, killed after it.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { type ConnectOptions, failure, isErrorCode, MyelinError, messageOf, timerMs } from '../bus/index.ts'
import type { CheckResult } from '../heartbeat/index.ts'
import type { UnitMetrics, Vitals } from '../unit/index.ts'
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
      readonly tags: readonly string[]
      /** How long it may drain when nobody is left to kill it. */
      readonly drainMs: number
    }
  | { readonly type: 'told'; readonly revision: number; readonly logLevel: string | undefined }
  | { readonly type: 'drain'; readonly goodbye: boolean }

export type FromChild =
  | { readonly type: 'ready'; readonly kind: string; readonly version: string; readonly startedAt: number }
  | {
      readonly type: 'stats'
      readonly stats: Record<string, number>
      readonly vitals: Vitals
      readonly metrics: UnitMetrics
      readonly checks: readonly CheckResult[]
      readonly maxRssBytes: number
    }
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }

const startMs = 30_000

/** What runs the child's code. */
interface Carrier {
  readonly pid: number
  send(message: ToChild): void
  kill(): void
}

interface CarrierEvents {
  message(message: FromChild): void
  /** A thread can throw anything. */
  error(error: unknown): void
  exit(how: string): void
}

const fromSource = import.meta.filename.endsWith('.ts')
const script = fileURLToPath(new URL(fromSource ? './child.ts' : './child.js', import.meta.url))
// run from source, it must take the same sources
const conditions = fromSource ? ['--conditions=myelin-source'] : []

function inProcess(events: CarrierEvents): Carrier {
  const child = fork(script, [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Node's young generation grows to 32 MB a half by itself and is hardly ever all garbage-free: with 4 MB a feed of
    // 110,000 events per second needs 254 MB instead of 370, and no more time
    execArgv: ['--max-semi-space-size=4', ...conditions],
    serialization: 'advanced',
  })
  child.on('message', events.message)
  child.on('error', events.error)
  child.on('exit', (code, signal) =>
    events.exit(`its process (pid ${child.pid}) ended with ${signal ?? `exit code ${code}`}`),
  )
  return {
    pid: child.pid ?? 0,
    send: (message) => {
      if (child.connected) child.send(message, () => undefined) // a child that is gone tells so by its exit
    },
    kill: () => child.kill('SIGKILL'),
  }
}

function inWorker(events: CarrierEvents): Carrier {
  const worker = new Worker(script, { execArgv: conditions })
  worker.on('message', events.message)
  worker.on('error', events.error)
  worker.on('exit', (code) => events.exit(`its thread ended with exit code ${code}`))
  return { pid: process.pid, send: (message) => worker.postMessage(message), kill: () => void worker.terminate() }
}

export async function startIsolated(
  start: Omit<Extract<ToChild, { type: 'start' }>, 'type' | 'drainMs'>,
  options: { as: 'process' | 'worker'; drainMs: number },
): Promise<Life> {
  const ready = Promise.withResolvers<{ kind: string; version: string; startedAt: number }>()
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  const exited = Promise.withResolvers<void>()
  let { stats, vitals, metrics, checks, maxRssBytes } = {
    stats: {},
    vitals: {},
    metrics: {},
    checks: [],
    maxRssBytes: 0,
  } as Omit<Extract<FromChild, { type: 'stats' }>, 'type'>
  let told: MyelinError | undefined
  let draining = false

  const carrier = (options.as === 'worker' ? inWorker : inProcess)({
    message: (message) => {
      if (message.type === 'ready') ready.resolve(message)
      else if (message.type === 'stats') ({ stats, vitals, metrics, checks, maxRssBytes } = message)
      else if (message.type === 'finished') finished.resolve()
      else {
        const { code } = message
        told = isErrorCode(code) ? failure(code, message.message) : new MyelinError(code, message.message)
      }
    },
    error: (cause) => {
      told ??= failure('UNIT_FAILED', `unit '${start.unit}': ${messageOf(cause)}`, { cause })
      ready.reject(told)
    },
    exit: (how) => {
      const error = told ?? failure('UNIT_FAILED', `unit '${start.unit}': ${how}`)
      ready.reject(error)
      if (!draining) failed.resolve(error)
      exited.resolve()
    },
  })
  const tooLate = setTimeout(() => {
    ready.reject(failure('UNIT_FAILED', `unit '${start.unit}' was not ready after ${startMs / 1_000} s`))
  }, startMs)

  carrier.send({ type: 'start', ...start, drainMs: options.drainMs })
  try {
    const { kind, version, startedAt } = await ready.promise
    return {
      kind,
      version,
      startedAt,
      pid: carrier.pid,
      beats: start.beatMs > 0,
      stats: () => stats,
      vitals: () => vitals,
      metrics: () => metrics,
      checks: () => checks,
      // a thread's memory is its process's
      ...(options.as === 'process' ? { maxRssBytes: () => maxRssBytes } : {}),
      told: (revision, logLevel) => carrier.send({ type: 'told', revision, logLevel }),
      finished: finished.promise,
      failed: failed.promise,
      async drain(goodbye) {
        draining = true
        carrier.send({ type: 'drain', goodbye })
        let killed = false
        const timer = setTimeout(() => {
          killed = true
          carrier.kill()
        }, timerMs(options.drainMs))
        await exited.promise
        clearTimeout(timer)
        if (killed) {
          return failure(
            'UNIT_FAILED',
            `unit '${start.unit}' (pid ${carrier.pid}) had not drained after ${options.drainMs / 1_000} s and was killed`,
          )
        }
        return told // it ended by itself, and not well
      },
    }
  } catch (error) {
    draining = true
    carrier.kill()
    throw error
  } finally {
    clearTimeout(tooLate)
  }
}
