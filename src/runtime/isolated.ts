// An instance in a process or a worker thread of its own: started, listened to, drained within a bound, killed after it.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import {
  type ConnectOptions,
  failure,
  isErrorCode,
  isRecord,
  MyelinError,
  messageOf,
  timerMs,
} from '../bus/internal.ts'
import type { CheckResult, Origin } from '../heartbeat/index.ts'
import type { UnitMetrics, Vitals } from '../unit/internal.ts'
import type { UnitRun } from './instance.ts'

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
      readonly origin: Origin
      /** How long it may drain when nobody is left to kill it. */
      readonly drainMs: number
    }
  | { readonly type: 'followed'; readonly revision: number; readonly logLevel: string | undefined }
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

/** A machine under load takes its time to load a module. */
const startMs = 60_000

/** What runs the child's code. */
interface ChildHandle {
  readonly pid: number
  send(message: ToChild): void
  kill(): void
}

interface ChildEvents {
  /** A unit has the same channel and may send anything. */
  message(message: unknown): void
  /** A thread can throw anything. */
  error(error: unknown): void
  exit(how: string): void
}

const fromSource = import.meta.filename.endsWith('.ts')
const script = fileURLToPath(new URL(fromSource ? './child.ts' : './child.js', import.meta.url))
// run from source, it must take the same sources
const conditions = fromSource ? ['--conditions=myelin-source'] : []

function inProcess(events: ChildEvents): ChildHandle {
  const child = fork(script, [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Node's young generation grows to 32 MB a half by itself and is hardly ever all garbage-free: with 4 MB a feed of
    // 110,000 events per second needs 254 MB instead of 370, and no more time
    execArgv: ['--max-semi-space-size=4', ...conditions],
    serialization: 'advanced',
  })
  child.on('message', events.message)
  child.on('error', (error) => {
    events.error(error)
    if (child.pid === undefined) events.exit('its process could not be started') // no exit is told of it
  })
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

function inWorker(events: ChildEvents): ChildHandle {
  const worker = new Worker(script, { execArgv: conditions })
  worker.on('message', events.message)
  worker.on('error', events.error)
  worker.on('exit', (code) => events.exit(`its thread ended with exit code ${code}`))
  return { pid: process.pid, send: (message) => worker.postMessage(message), kill: () => void worker.terminate() }
}

export async function startIsolated(
  start: Omit<Extract<ToChild, { type: 'start' }>, 'type' | 'drainMs'>,
  options: { as: 'process' | 'worker'; drainMs: number; givenUp?: AbortSignal },
): Promise<UnitRun> {
  const ready = Promise.withResolvers<{ kind: string; version: string; startedAt: number }>()
  ready.promise.catch(() => undefined) // who waits for it is told below
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
  let reason: MyelinError | undefined
  let draining = false

  const handle = (options.as === 'worker' ? inWorker : inProcess)({
    message: (received) => {
      if (!isFromChild(received)) return
      const message = received
      if (message.type === 'ready') ready.resolve(message)
      else if (message.type === 'stats') ({ stats, vitals, metrics, checks, maxRssBytes } = message)
      else if (message.type === 'finished') finished.resolve()
      else {
        const { code } = message
        reason = isErrorCode(code) ? failure(code, message.message) : new MyelinError(code, message.message)
      }
    },
    error: (cause) => {
      reason ??= failure('UNIT_FAILED', `unit '${start.unit}': ${messageOf(cause)}`, { cause })
      ready.reject(reason)
    },
    exit: (how) => {
      const error = reason ?? failure('UNIT_FAILED', `unit '${start.unit}': ${how}`)
      ready.reject(error)
      if (!draining) failed.resolve(error)
      exited.resolve()
    },
  })
  const tooLate = setTimeout(() => {
    ready.reject(failure('UNIT_FAILED', `unit '${start.unit}' was not ready after ${startMs / 1_000} s`))
  }, startMs)

  /** Asks it to end, and kills it when it does not; resolves with whether it had to. */
  const drained = async (goodbye: boolean): Promise<boolean> => {
    draining = true
    handle.send({ type: 'drain', goodbye })
    let killed = false
    const timer = setTimeout(() => {
      killed = true
      handle.kill()
    }, timerMs(options.drainMs))
    await exited.promise
    clearTimeout(timer)
    return killed
  }
  const giveUp = async () => {
    await drained(true)
    ready.reject(failure('UNIT_FAILED', `unit '${start.unit}' was stopped while it started`))
  }
  options.givenUp?.addEventListener('abort', giveUp, { once: true })
  try {
    send(handle, { type: 'start', ...start, drainMs: options.drainMs })
    if (options.givenUp?.aborted) void giveUp()
    const { kind, version, startedAt } = await ready.promise
    return {
      kind,
      version,
      startedAt,
      pid: handle.pid,
      beats: start.beatMs > 0,
      stats: () => stats,
      vitals: () => vitals,
      metrics: () => metrics,
      checks: () => checks,
      // a thread's memory is its process's
      ...(options.as === 'process' ? { maxRssBytes: () => maxRssBytes } : {}),
      followed: (revision, logLevel) => handle.send({ type: 'followed', revision, logLevel }),
      finished: finished.promise,
      failed: failed.promise,
      async drain(goodbye) {
        const killed = await drained(goodbye)
        if (killed) {
          return failure(
            'UNIT_FAILED',
            `unit '${start.unit}' (pid ${handle.pid}) had not drained after ${options.drainMs / 1_000} s and was killed`,
          )
        }
        return reason // it ended by itself, and not well
      },
    }
  } catch (error) {
    draining = true
    handle.kill()
    await exited.promise // the next one must not meet it
    throw error
  } finally {
    clearTimeout(tooLate)
    options.givenUp?.removeEventListener('abort', giveUp)
  }
}

const messageTypes: ReadonlySet<unknown> = new Set<FromChild['type']>(['ready', 'stats', 'finished', 'failed'])

function isFromChild(message: unknown): message is FromChild {
  if (!isRecord(message) || !messageTypes.has(message.type)) return false
  if (message.type === 'failed') return typeof message.code === 'string' && typeof message.message === 'string'
  return (
    message.type !== 'stats' || (isRecord(message.stats) && isRecord(message.vitals) && Array.isArray(message.checks))
  )
}

/** @throws MyelinError INVALID_CONFIG for a configuration that holds what cannot leave this process */
function send(handle: ChildHandle, message: Extract<ToChild, { type: 'start' }>): void {
  try {
    handle.send(message)
  } catch (cause) {
    const path = uncloneable(message.config, ['config'])
    throw failure(
      'INVALID_CONFIG',
      `unit '${message.unit}': ${path ? `${path.join('.')} is ${describe(path, message.config)}` : messageOf(cause)}, which cannot be sent to a process or thread of its own; give plain data, or leave isolation out`,
      { cause },
    )
  }
}

/** Where the first value is that structured cloning refuses. */
function uncloneable(
  value: unknown,
  path: readonly string[],
  seen = new Set<unknown>(),
): readonly string[] | undefined {
  if (typeof value === 'function' || typeof value === 'symbol') return path
  if (typeof value !== 'object' || value === null || seen.has(value)) return undefined
  seen.add(value)
  for (const [key, one] of Object.entries(value)) {
    const found = uncloneable(one, [...path, key], seen)
    if (found) return found
  }
  try {
    structuredClone(value)
    return undefined
  } catch {
    return path
  }
}

function describe([, ...path]: readonly string[], config: unknown): string {
  const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config)
  return typeof value === 'object' ? `an object of ${value?.constructor?.name}` : `a ${typeof value}`
}
