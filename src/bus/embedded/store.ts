// The store folder itself: emptied for a fresh start, and temporary ones that nobody could remove any more.
import { readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLeftBehind } from './lock.ts'

export const temporaryPrefix = 'myelin-nats-'
/** A folder without a lock may be about to get one. */
const youngMs = 60_000

/** What nats-server and this folder write there; a folder that was named by mistake holds other things as well. */
const ofServer = /^(jetstream|myelin-server\.conf|myelin-reserve|.*\.ports)$/

/** Removes all that a server kept there, and nothing else. Only for who holds the lock. */
export async function emptyStore(storeDir: string): Promise<void> {
  for (const name of await readdir(storeDir)) {
    if (ofServer.test(name)) await rm(join(storeDir, name), { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Removes the temporary folders of servers whose processes were killed. */
export async function removeLeftBehind(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => [])
  for (const name of names.filter((one) => one.startsWith(temporaryPrefix))) {
    const folder = join(tmpdir(), name)
    try {
      const gone = (await isLeftBehind(folder)) ?? Date.now() - (await stat(folder)).mtimeMs > youngMs
      if (gone) await rm(folder, { recursive: true, force: true })
    } catch {
      // another one removes it, or it is not ours
    }
  }
}
