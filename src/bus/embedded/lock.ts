// One server per store folder: nats-server itself does not keep a second one out, and two on one store destroy it.
// The file also tells other processes in this folder where the server is.
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { failure } from '../errors.ts'

const fileName = 'myelin-server.json'

/** A server at work in a store folder. */
export interface RunningServer {
  readonly pid: number
  readonly url: string
  readonly startedAt: string
  /** The process that started it and watches it. */
  readonly parent: number
}

/** The live server of a store folder, or undefined. */
export async function runningServer(storeDir: string): Promise<RunningServer | undefined> {
  try {
    const found = JSON.parse(await readFile(join(storeDir, fileName), 'utf8')) as RunningServer
    if (found.url && (await isNatsServer(found.pid))) return found
    // between a server's death and its restart the parent still holds the folder
    return found.url && (await alive(found.parent)) && found.parent !== process.pid ? found : undefined
  } catch {
    return undefined
  }
}

/** Takes a store folder for the server of this process. @throws MyelinError STORE_LOCKED, FILE_NOT_FOUND */
export async function lockStore(
  storeDir: string,
): Promise<{ update(pid: number, url: string): Promise<void>; release(): Promise<void> }> {
  await mkdir(storeDir, { recursive: true }).catch((cause) => {
    throw failure('FILE_NOT_FOUND', `the store folder ${storeDir} cannot be made: ${cause.message}`, { cause })
  })
  const path = join(storeDir, fileName)
  const write = async (pid: number, url: string, flag: 'wx' | 'w') => {
    const file = await open(path, flag)
    const content: RunningServer = { pid, url, startedAt: new Date().toISOString(), parent: process.pid }
    await file.writeFile(`${JSON.stringify(content)}\n`)
    await file.close()
  }
  for (let attempt = 0; ; attempt++) {
    try {
      await write(process.pid, '', 'wx') // only one process can make the file
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw failure('FILE_NOT_FOUND', `${path} cannot be written`, { cause: error })
      const holder = await readFile(path, 'utf8')
        .then((text) => JSON.parse(text) as RunningServer)
        .catch(() => undefined)
      const held =
        holder &&
        ((holder.url === '' && holder.parent !== process.pid && (await alive(holder.parent))) ||
          (await isNatsServer(holder.pid)))
      if (held || attempt > 2) {
        throw failure(
          'STORE_LOCKED',
          `${storeDir} is in use by the server at ${holder?.url || 'an address not known yet'} (pid ${holder?.pid})`,
        )
      }
      await rm(path, { force: true }) // left behind by a process that is gone
    }
  }
  return {
    update: (pid, url) => write(pid, url, 'w'),
    release: () => rm(path, { force: true }),
  }
}

async function alive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Whether a pid is a running nats-server: after a crash the number may belong to somebody else. */
async function isNatsServer(pid: number): Promise<boolean> {
  if (!(await alive(pid))) return false
  const stat = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  return stat === undefined ? process.platform !== 'linux' : stat.includes('nats-server')
}
