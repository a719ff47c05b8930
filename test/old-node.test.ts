import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

it('a Node that is too old gets one sentence before anything else is loaded', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'myelin-test-'))
  const older = join(folder, 'older.mjs')
  await writeFile(older, "Object.defineProperty(process.versions, 'node', { value: '20.11.0' })")
  for (const file of ['src/cli/bin.ts', 'scripts/check-node.mjs']) {
    const ran = spawnSync(process.execPath, ['--import', older, join(import.meta.dirname, '..', file), 'ls'])
    expect(ran.status, file).toBe(1)
    expect(String(ran.stderr)).toMatch(/^myelin needs Node 22\.18 or newer; this is Node 20\.11\.0\..*\n$/i)
  }
  await rm(folder, { recursive: true, force: true })
})
