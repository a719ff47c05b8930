import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { until } from '../../test/support/nats.ts'
import { watchFiles } from './watch.ts'

it('hears every save, in place and by renaming another file over it, also in folders that are new or replaced', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'myelin-test-'))
  await mkdir(join(folder, 'units'))
  const file = join(folder, 'units', 'a.ts')
  await writeFile(file, '0')
  const heard: string[] = []
  const stop = watchFiles(folder, (files) => heard.push(...files))
  await new Promise((resolve) => setTimeout(resolve, 200))
  const hears = async (path: string, change: () => Promise<void>) => {
    heard.length = 0
    await change()
    await until(() => heard.includes(path))
  }
  const renamed = async (text: string) => {
    await writeFile(`${file}.tmp`, text)
    await rename(`${file}.tmp`, file)
  }
  for (const text of ['1', '2', '3']) await hears(file, () => renamed(text))
  await hears(file, () => writeFile(file, '4'))
  const fresh = join(folder, 'more', 'b.ts')
  await hears(fresh, async () => {
    await mkdir(join(folder, 'more'))
    await writeFile(fresh, '1')
  })
  await hears(fresh, () => writeFile(fresh, '2'))
  await hears(file, async () => {
    await mkdir(join(folder, 'next'))
    await writeFile(join(folder, 'next', 'a.ts'), '5')
    await rm(join(folder, 'units'), { recursive: true })
    await rename(join(folder, 'next'), join(folder, 'units'))
  })
  await hears(file, () => renamed('6'))
  stop()
  expect(heard).toContain(file)
  await rm(folder, { recursive: true, force: true })
})
