// Every public export says what it is, and every public function shows how it is used.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
/** Doors whose exports are not all documented yet; remove a name once they are. */
const open = /\/(control|heartbeat|runtime|service|sse|stream)\//

const doors = Object.values(
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports as Record<string, { 'myelin-source'?: string }>,
).flatMap(({ 'myelin-source': source }) => (source?.endsWith('.ts') ? [join(root, source)] : []))

interface Export {
  readonly name: string
  readonly file: string
}

/** What a file exports, with the file that declares it. */
function exportsOf(file: string): Export[] {
  const text = readFileSync(file, 'utf8')
  const found: Export[] = []
  for (const [, names, from] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']+)'/gms)) {
    const target = resolve(dirname(file), from!)
    for (const part of names!.split(',')) {
      const [, original] = /^\s*(?:type )?(\w+)(?: as \w+)?\s*$/.exec(part) ?? []
      if (original) found.push({ name: original, file: declaring(target, original) })
    }
  }
  for (const [, from] of text.matchAll(/^export \* from '(\.[^']+)'/gm))
    found.push(...exportsOf(resolve(dirname(file), from!)))
  for (const [, name] of text.matchAll(declaration('\\w+'))) found.push({ name: name!, file })
  return found
}

const declaration = (name: string) =>
  new RegExp(
    `^export (?:declare |abstract |async )*(?:function\\*?|class|const|interface|type|enum) (${name})\\b`,
    'gm',
  )

/** Follows a name through doors inside of folders to where it is declared. */
function declaring(file: string, name: string): string {
  if (declaration(name).test(readFileSync(file, 'utf8'))) return file
  return exportsOf(file).find((one) => one.name === name)?.file ?? file
}

const docOf = (text: string, at: number): string | undefined =>
  /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n(?:\/\/[^\n]*\n)*$/.exec(text.slice(0, at))?.[1]

it('every public export has a docstring, and every public function an example', () => {
  expect(doors.length).toBeGreaterThan(8)
  const missing = new Set<string>()
  for (const { name, file } of doors.flatMap(exportsOf)) {
    if (!existsSync(file) || open.test(file)) continue
    const text = readFileSync(file, 'utf8')
    const places = [...text.matchAll(declaration(name))]
    const docs = places.map(({ index }) => docOf(text, index))
    const where = `${file.slice(root.length + 1)}: ${name}`
    if (docs.every((doc) => doc === undefined)) missing.add(`${where} has no docstring`)
    else {
      const callable = places.some(
        ({ 0: head, index }) =>
          / function/.test(head) ||
          (/ const/.test(head) &&
            /^[^\n]*?=\s*(?:async )?(?:<[^=]*>)?\(.*?=>/s.test(text.slice(index, index + 300)) &&
            /^export const \w+(?:: [^=]+)? =\s*(?:async )?[<(]/.test(text.slice(index, index + 300))),
      )
      if (callable && !docs.some((doc) => doc?.includes('@example'))) missing.add(`${where} has no @example`)
    }
  }
  expect([...missing].sort()).toEqual([])
})
