// What npm would publish, as tools see it: every door resolves, and its types are those of what is loaded.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { packed } from '../support/packed.ts'

const bin = (name: string) => join(import.meta.dirname, '../../node_modules/.bin', name)
const run = promisify(execFile)

it('publint and arethetypeswrong find nothing to say against the packed package', async () => {
  await using tarball = await packed()
  const { stdout } = await run(bin('publint'), ['--strict', tarball.file])
  expect(stdout).toContain('All good')
  // the package is ESM: what old resolvers do with it is told by `engines`
  await run(bin('attw'), ['--profile', 'esm-only', tarball.file])
})
