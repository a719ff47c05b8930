// What a world leaves behind: timers, sockets, servers, processes and threads that its units made and that would keep the
// test's process alive. Each is found by the context in which it was made, so that nothing of the test itself, of its
// runner or of another world is taken for one.
import { AsyncLocalStorage, createHook } from 'node:async_hooks'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const names: Readonly<Record<string, string>> = {
  Timeout: 'a timer',
  Immediate: 'an immediate',
  PROCESSWRAP: 'a process',
  WORKER: 'a worker thread',
  TCPWRAP: 'a connection',
  TCPSERVERWRAP: 'a server that listens',
  UDPWRAP: 'a UDP socket',
  FSEVENTWRAP: 'a watched file',
  STATWATCHER: 'a watched file',
}
const settleMs = 1_000

const scopes = new AsyncLocalStorage<Leaks>()

interface Made {
  readonly what: string
  readonly resource: { hasRef?(): boolean; readonly pid?: number }
  readonly where: string
}

const hook = createHook({
  init(id, type, _trigger, resource) {
    const what = names[type]
    if (what === undefined) return
    scopes.getStore()?.made(id, { what, resource, where: placeOf() })
  },
  destroy(id) {
    for (const leaks of watching) leaks.gone(id)
  },
})
const watching = new Set<Leaks>()

export class Leaks {
  readonly #made = new Map<number, Made>()

  constructor() {
    if (watching.size === 0) hook.enable()
    watching.add(this)
  }

  /** Runs `work`: whatever it makes, and what comes of that later on, belongs to this. */
  within<Result>(work: () => Result): Result {
    return scopes.run(this, work)
  }

  made(id: number, made: Made): void {
    this.#made.set(id, made)
  }
  gone(id: number): void {
    this.#made.delete(id)
  }

  /** What is left a moment after everything was told to end, as sentences. */
  async end(): Promise<string[]> {
    const left = () => [...this.#made.values()].filter(({ resource }) => resource.hasRef?.() === true)
    for (const end = performance.now() + settleMs; left().length > 0 && performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    watching.delete(this)
    if (watching.size === 0) hook.disable()
    return left().map(({ what, where, resource: { pid } }) => `${what}${pid ? ` (pid ${pid})` : ''} made at ${where}`)
  }
}

const own = fileURLToPath(import.meta.url)

/** The first place outside of Node and of packages where somebody made it. */
function placeOf(): string {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 30
  const { stack = '' } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  const lines = stack.split('\n').slice(1)
  const line = lines.find((text) => !/node:|node_modules/.test(text) && !text.includes(own))
  const [, place = 'an unknown place'] = /\(?((?:file:\/\/|\/|[A-Z]:\\)[^()]*)\)?$/.exec(line ?? '') ?? []
  return shown(place)
}

function shown(place: string): string {
  const [, file = place, at = ''] = /^(.*?)(:\d+:\d+)?$/.exec(place) ?? []
  const path = file.startsWith('file:') ? fileURLToPath(file) : file
  const here = relative('.', path)
  return `${here.startsWith('..') ? path : here}${at}`
}
