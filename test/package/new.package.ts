// `myelin new` from the packed package: what it writes passes its own test and type check, and runs, without a network.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { nodeOf, packed, strangersEnv } from '../support/packed.ts'

const run = promisify(execFile)
let home: string
let env: NodeJS.ProcessEnv

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'myelin-new-'))
  await using tarball = await packed()
  env = strangersEnv(await nodeOf(24, join(home, '.node')))
  await writeFile(join(home, 'package.json'), '{"private":true}')
  await run('npm', ['install', '--silent', tarball.file, 'zod', 'typescript@5.9', '@types/node@22'], { cwd: home, env })
})
afterAll(() => rm(home, { recursive: true, force: true }))

const npx = (cwd: string, ...args: string[]) =>
  run('npx', ['--no-install', ...args], { cwd, env: { ...env, npm_config_offline: 'true' } })

it.each([
  ['shop', []],
  ['two-words', ['--service']],
])('%s %s', async (name, flags) => {
  const { stdout } = await npx(home, 'myelin', 'new', name, ...flags)
  expect(stdout).toContain(`cd ${name}`)
  const folder = join(home, name)
  await npx(folder, 'tsc')
  const tested = await run('node', ['--test'], { cwd: folder, env })
  expect(tested.stdout).toMatch(/^# fail 0$|ℹ fail 0/m)
  const planned = await npx(folder, 'myelin', 'up', '--dry-run')
  expect(planned.stdout).toContain(flags.length === 0 ? 'page' : name)
})

it('writes nothing into a folder that holds something, and says so', async () => {
  await mkdir(join(home, 'full'))
  await writeFile(join(home, 'full/mine.txt'), 'mine')
  await expect(npx(home, 'myelin', 'new', 'full')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('is not empty'),
  })
  expect(await readdir(join(home, 'full'))).toEqual(['mine.txt'])
})
