// Every TypeScript block of the README and the guide compiles against the sources. A block may leave out what a reader
// knows: imports of the package, and what `test/docs` declares for the page; `…` stands for code of the reader's own.
import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { type Block, blocksOf } from './support/pages.ts'

const root = join(import.meta.dirname, '..')
const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: root })].sort()

/** Names that a module of ours exports. */
function exportsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8').replaceAll(/\/\/.*/g, '')
  const lists = [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => list!.split(','))
  const named = lists.map(
    (one) =>
      one
        .trim()
        .replace(/^type /, '')
        .split(' as ')
        .at(-1)!,
  )
  const own = [...text.matchAll(/export (?:declare )?(?:const|function|class|type|interface) (\w+)/g)]
  return [...named, ...own.map(([, name]) => name!)].filter((name) => name !== '')
}

// where several export the same name, the first counts; a page of its own says otherwise
const doors = ['contract', 'service', 'stream', 'sse', 'heartbeat', 'control', 'runtime', 'unit', 'bus']
const known = doors.map((door) => ({ from: `myelin/${door}`, names: exportsOf(`src/${door}/index.ts`) }))

/** A block as a module: with what it leaves out, which takes so many lines before it. */
function moduleOf(page: string, { text }: Block): { readonly text: string; readonly before: number } {
  const code = text
    .replaceAll(/\{ … \}/g, '{}')
    .replaceAll(/=> …\)/g, '=> {})')
    .replaceAll(/, …\)/g, ', undefined as never)')
    .replaceAll(/\) …/g, ') {}')
  const part = /^\w+: /.test(code)
  const whole = part ? `export default {\n${code}}\n` : `${code}\nexport {}\n`
  const bare = code.replaceAll(/\/\/.*/g, '')
  const declared = new Set([
    ...[...bare.matchAll(/(?:const|let|using|function|class|type|interface|import) (\w+)/g)].map(([, name]) => name!),
    ...[...bare.matchAll(/import (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) =>
      list!.split(',').map((one) => one.trim().replace(/^type /, '')),
    ),
  ])
  const prelude = page === 'README.md' ? 'readme' : 'guide'
  const sources = [
    { from: join(root, `test/docs/${prelude}.ts`), names: exportsOf(`test/docs/${prelude}.ts`) },
    { from: 'zod', names: ['z'] },
    ...known,
  ]
  const imports: string[] = []
  for (const { from, names } of sources) {
    for (const name of names) {
      if (declared.has(name) || !new RegExp(`(?<![.\\w'])${name}\\b`).test(bare)) continue
      declared.add(name)
      imports.push(`import { ${name} } from '${from}'\n`)
    }
  }
  return { text: imports.join('') + whole, before: imports.length + Number(part) }
}

it('every TypeScript block of the README and the guide compiles', async () => {
  await mkdir(join(root, '.scratch'), { recursive: true })
  const folder = await mkdtemp(join(root, '.scratch/docs-'))
  try {
    const places = new Map<string, { page: string; line: number }>()
    for (const page of pages) {
      const blocks = blocksOf(page).filter(({ info }) => info === 'ts')
      for (const block of blocks) {
        // files of a page import each other; other blocks are modules by themselves
        const name = block.file ?? `${block.line}.ts`
        const file = join(folder, page.replace(/\W/g, '_'), name)
        await mkdir(dirname(file), { recursive: true })
        const { text, before } = moduleOf(page, block)
        await writeFile(file, text)
        places.set(relative(root, file), { page, line: block.line - before - 1 })
      }
    }
    const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'))
    const options = {
      ...compilerOptions,
      lib: [...compilerOptions.lib, 'dom'],
      verbatimModuleSyntax: false,
      rewriteRelativeImportExtensions: false,
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['.'] }))
    const tsc = join(root, 'node_modules/.bin/tsc')
    const { stdout } = await promisify(execFile)(tsc, ['-p', folder, '--pretty', 'false'], { cwd: root }).catch(
      (failed: { stdout: string }) => failed,
    )
    const reported = stdout.split('\n').filter((line) => line !== '')
    expect(reported.map((line) => inPage(line, places))).toEqual([])
    expect(places.size).toBeGreaterThan(20)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** What the compiler says, with the page and the line that it means. */
function inPage(reported: string, places: ReadonlyMap<string, { page: string; line: number }>): string {
  const [, file = '', line] = /^(\S+)\((\d+),/.exec(reported) ?? []
  const place = places.get(file)
  return place ? `${place.page}:${place.line + Number(line)} ${reported}` : reported
}
