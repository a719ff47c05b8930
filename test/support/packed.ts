// The package as strangers get it: packed once, then installed into empty folders by npm.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** Packs the package; `file` is the tarball. */
export async function packed(): Promise<{ readonly file: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'myelin-packed-'))
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root, maxBuffer: 64 * 1024 ** 2 })
  const [name] = await readdir(folder)
  return {
    file: join(folder, name!),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/**
 * The folder of a Node of this major version, for PATH; the one that runs the tests, or one that npm brings into `folder`.
 */
export async function nodeOf(major: number, folder: string): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return dirname(process.execPath)
  await run('npm', ['install', '--silent', '--no-save', '--prefix', folder, `node@${major}`])
  return join(folder, 'node_modules/node/bin')
}

/** The environment of somebody who has nothing but Node: none of this repository's settings. */
export function strangersEnv(node: string): NodeJS.ProcessEnv {
  const { PATH = '', HOME, LANG, TMPDIR } = process.env
  const path = PATH.split(':').filter((entry) => !entry.includes('node_modules'))
  const npm = Object.fromEntries(
    Object.entries(process.env).filter(([key]) =>
      /^npm_config_(registry|cache|userconfig)$|_proxy$|^NODE_EXTRA_CA_CERTS$/i.test(key),
    ),
  )
  return { ...npm, PATH: [node, ...path].join(':'), HOME, LANG, TMPDIR }
}
