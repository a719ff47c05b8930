// A store on a disk that gets full. nats-server does not get over that: it takes three quarters of what is free when it
// starts as its limit and keeps to it when there is room again; and a stream that could not be written answers nobody
// until the server is started anew, not even with a refusal. So its watcher listens to its log, and says when to restart.
//
// Promise: soon after the disk got full the server refuses with a code (producers get STREAM_FULL), and soon after there
// is room again it takes messages.
import { readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Set aside, and given back on a full disk: a server that is started needs some room for its own files. */
const reserveName = 'myelin-reserve'
const reserveBytes = 1024 * 1024
/** No reason to restart for less. */
const worthwhileBytes = 4 * 1024 * 1024
/** While producers ask, the server says at least every 10 s that it refuses. */
const saidEveryMs = 15_000
const pauseMs = 5_000

const unwritten = /no space left on device|not enough space on the disk|disk quota exceeded/i
const refusing = /resource limits exceeded/i

export class DiskWatch {
  readonly #storeDir: string
  /** A write has failed, and the disk has had no room since then. */
  #full = false
  #refusedAt = Number.NEGATIVE_INFINITY
  #restartedAt = Number.NEGATIVE_INFINITY
  #leastFreeBytes = Number.POSITIVE_INFINITY

  constructor(storeDir: string) {
    this.#storeDir = storeDir
  }

  get full(): boolean {
    return this.#full
  }

  /** Before a start: sets the reserve aside, and resolves with how much the server may store. */
  async limitBytes(): Promise<number> {
    const reserve = join(this.#storeDir, reserveName)
    const there = (await stat(reserve).catch(() => undefined))?.size === reserveBytes
    // a disk without room for it does without
    if (!there && !this.#full && (await this.#freeBytes()) > 2 * worthwhileBytes)
      await writeFile(reserve, Buffer.alloc(reserveBytes)).catch(() => rm(reserve, { force: true }))
    const used = await bytesIn(join(this.#storeDir, 'jetstream'))
    // what is free on a full disk is needed to run
    return Math.max(1, used + (this.#full ? 0 : Math.floor((await this.#freeBytes()) * 0.75)))
  }

  /** Takes what the server says in its log. True: a write failed for want of room, restart it so that it refuses. */
  async said(text: string): Promise<boolean> {
    const failed = unwritten.test(text)
    if (!failed && !refusing.test(text)) return false
    const at = performance.now()
    const first = at - this.#refusedAt > saidEveryMs
    this.#refusedAt = at
    if (failed && !this.#full) {
      this.#full = true
      this.#restartedAt = at
      await rm(join(this.#storeDir, reserveName), { force: true })
      this.#leastFreeBytes = await this.#freeBytes()
      return true
    }
    if (first && !this.#full) this.#leastFreeBytes = await this.#freeBytes()
    return false
  }

  /** Now and then. Resolves with how much is free when the server refuses though there is room: restart it. */
  async roomAgain(): Promise<number | undefined> {
    const at = performance.now()
    const refuses = at - this.#refusedAt < saidEveryMs
    if (!refuses || at - this.#restartedAt < pauseMs) return undefined
    const free = await this.#freeBytes()
    const least = Math.min(free, this.#leastFreeBytes)
    this.#leastFreeBytes = least
    if (free - least < worthwhileBytes + least / 4) return undefined
    this.#full = false
    this.#restartedAt = at
    this.#refusedAt = Number.NEGATIVE_INFINITY
    return free
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#storeDir)
    return bavail * bsize
  }
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  let sum = 0
  for (const entry of entries)
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0
  return sum
}
