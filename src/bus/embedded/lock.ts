// One server per store folder: nats-server itself does not keep a second one out, and two on one store destroy it.
// The file also tells other processes in this folder where the server is.
//
// Promise: of any number of processes that want a store at the same moment, one gets it, also when its last owner was
// killed −9. The file appears and changes in one step (link, rename), so nobody ever reads half of it; a lock that was
// left behind is taken over by whoever makes the file that bears that lock's id, which only one process can.
import { link, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { failure } from '../errors.ts'
import { isNatsServer, isStillThere, processStart } from './processes.ts'

const fileName = 'myelin-server.json'
/** How long a server whose parent was killed may take to end; its guard kills it before. */
const dyingMs = 8_000

/** A server at work in a store folder. */
export interface RunningServer {
  readonly pid: number
  readonly url: string
  readonly startedAt: string
  /** The process that started it and watches it. */
  readonly parent: number
  /** It was told more than where its store is: nobody else could start it in the same way. */
  readonly configured?: boolean
}

interface Lock extends RunningServer {
  /** Of this owner's time; nobody else ever had it. */
  readonly id: string
  /** When the parent began, as the operating system counts: another process may get its number later. */
  readonly parentStart?: string
}

export interface StoreLock {
  /** Where the last server listened that was not stopped in order, so that its clients find the next one. */
  readonly lastUrl: string | undefined
  update(pid: number, url: string): Promise<void>
  release(): Promise<void>
}

/** Locks that this process holds itself, by id. */
const mine = new Set<string>()

/**
 * The live server of a store folder, or undefined.
 * @example const server = await runningServer('.myelin/nats')
 */
export async function runningServer(storeDir: string): Promise<RunningServer | undefined> {
  const found = await read(join(storeDir, fileName))
  // between a server's death and its restart the parent still holds the folder; a server without one is about to end
  if (!found?.url || !(await hasOwner(found))) return undefined
  return found.parent === process.pid && !(await isNatsServer(found.pid)) ? undefined : found
}

/** Whether a folder's server is gone for good; undefined: nothing says that there ever was one. */
export async function isLeftBehind(storeDir: string): Promise<boolean | undefined> {
  const found = await read(join(storeDir, fileName))
  return found && !(await isHeld(found))
}

/** Takes a store folder for the server of this process. @throws MyelinError STORE_LOCKED, FILE_NOT_FOUND */
export async function lockStore(storeDir: string, configured = false): Promise<StoreLock> {
  await mkdir(storeDir, { recursive: true }).catch((cause) => {
    throw failure('FILE_NOT_FOUND', `the store folder ${storeDir} cannot be made: ${cause.message}`, { cause })
  })
  const path = join(storeDir, fileName)
  const start = await processStart(process.pid)
  const id = crypto.randomUUID()
  const lockOf = (pid: number, url: string): Lock => ({
    pid,
    url,
    startedAt: new Date().toISOString(),
    parent: process.pid,
    id,
    ...(configured ? { configured } : {}),
    ...(start === undefined ? {} : { parentStart: start }),
  })
  mine.add(id)
  try {
    const lastUrl = await take(storeDir, path, lockOf(process.pid, ''))
    return {
      lastUrl,
      update: (pid, url) => replace(path, lockOf(pid, url)),
      release: async () => {
        mine.delete(id)
        if ((await read(path))?.id === id) await rm(path, { force: true })
      },
    }
  } catch (error) {
    mine.delete(id)
    throw error
  }
}

/** Resolves when the lock is this process's, with the address of a server that was not stopped in order. */
async function take(storeDir: string, path: string, lock: Lock): Promise<string | undefined> {
  for (const end = performance.now() + dyingMs; ; ) {
    if (await makeExclusively(path, lock)) return undefined
    const holder = await read(path)
    if (!holder) continue // released a moment ago
    if (await isHeld(holder)) {
      // one whose parent is gone is being ended by its guard
      if (!(await hasOwner(holder)) && performance.now() < end) {
        await sleep(50)
        continue
      }
      throw failure(
        'STORE_LOCKED',
        `${storeDir} is in use by the server at ${holder.url || 'an address not known yet'} (pid ${holder.pid}, started by pid ${holder.parent})`,
      )
    }
    if (await takeOver(path, holder, lock)) return holder.url || undefined
  }
}

/**
 * Replaces a lock that was left behind. Whoever makes `<lock>.<id of what it replaces>` may; one that was killed on the
 * way is replaced in the same manner, by its own id. Resolves with whether this process was the one.
 */
async function takeOver(path: string, stale: Lock, next: Lock): Promise<boolean> {
  const steps: string[] = []
  const undo = () => Promise.all(steps.map((step) => rm(step, { force: true })))
  for (let replaced = stale; ; ) {
    const step = `${path}.${replaced.id}`
    if (await makeExclusively(step, next)) {
      steps.push(step)
      break
    }
    const rival = await read(step)
    if (!rival) return false // it is done, or gave way
    if (await isHeld(rival)) {
      await sleep(20)
      return false
    }
    steps.push(step)
    replaced = rival
  }
  // what was seen may be long over: the rival who was faster replaced the lock before it removed its steps
  if ((await read(path))?.id !== stale.id) {
    await rm(steps.at(-1)!, { force: true })
    return false
  }
  await replace(path, next)
  await undo()
  return true
}

/** Makes a file with its whole content at once; false when there is one. @throws MyelinError FILE_NOT_FOUND */
async function makeExclusively(path: string, lock: Lock): Promise<boolean> {
  const unique = `${path}.${lock.id}.new`
  try {
    await writeFile(unique, `${JSON.stringify(lock)}\n`)
    await link(unique, path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS') return makeWithoutLinks(path, lock)
    throw failure('FILE_NOT_FOUND', `${path} cannot be written`, { cause: error })
  } finally {
    await rm(unique, { force: true })
  }
}

/** For file systems without hard links: another process may read it before it is written, and waits then. */
async function makeWithoutLinks(path: string, lock: Lock): Promise<boolean> {
  const file = await open(path, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    throw failure('FILE_NOT_FOUND', `${path} cannot be written`, { cause: error })
  })
  await file?.writeFile(`${JSON.stringify(lock)}\n`)
  await file?.close()
  return file !== undefined
}

async function replace(path: string, lock: Lock): Promise<void> {
  await mkdir(dirname(path), { recursive: true }) // somebody removed the folder
  const unique = `${path}.${lock.id}.new`
  await writeFile(unique, `${JSON.stringify(lock)}\n`)
  await rename(unique, path)
}

/** A lock as it is; undefined when there is none. One that cannot be read is told as left behind by nobody known. */
async function read(path: string): Promise<Lock | undefined> {
  for (let attempt = 0; ; attempt++) {
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    try {
      const { pid, url, parent, startedAt, id, parentStart, configured } = JSON.parse(text) as Partial<Lock>
      return {
        pid: Number(pid) || 0,
        url: String(url ?? ''),
        parent: Number(parent) || 0,
        startedAt: String(startedAt ?? ''),
        id: String(id ?? 'none').replace(/[^\w-]/g, ''),
        ...(configured ? { configured } : {}),
        ...(parentStart === undefined ? {} : { parentStart }),
      }
    } catch {
      // half written, or damaged: it says nothing of an owner
      if (attempt >= 10) return { pid: 0, url: '', parent: 0, startedAt: '', id: 'damaged' }
      await sleep(20)
    }
  }
}

/** Whether the process is there that started the server and watches it. */
async function hasOwner({ parent, parentStart, id }: Lock): Promise<boolean> {
  if (parent === process.pid) return mine.has(id)
  return isStillThere(parent, parentStart)
}

async function isHeld(lock: Lock): Promise<boolean> {
  return (await hasOwner(lock)) || (await isNatsServer(lock.pid))
}
