// Names are the field's words: those that were the author's own are not used any more (docs/glossary.md). Looked at are
// identifiers and file names, by the whole words of their camelCase, and what the wire, metrics and commands are called.
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')

/** What each was, and what it is called now. */
const old: Readonly<Record<string, string>> = {
  circuit: 'dataflow',
  pane: 'aligned window',
  panes: 'aligned windows',
  counteds: 'count windows',
  slidings: 'sliding windows',
  tell: 'emit, report, announce',
  told: 'emitted, reported',
  tells: 'emits, reports',
  untold: 'pending',
  poison: 'reject',
  poisoned: 'rejected',
  aside: 'side output',
  stray: 'uncaught',
  strays: 'uncaught errors',
  republished: 'forged',
  extremes: 'min-max',
  mend: 'fix',
  mends: 'fixes',
}

/** Kept, with the reason. */
const kept: Readonly<Record<string, string>> = {
  CIRCUIT_OPEN: 'the pattern is called circuit breaker',
}

const files = ['src/**/*.ts', 'test/**/*.ts', 'examples/**/*.ts', 'bench/**/*.ts', 'scripts/**/*'].flatMap((pattern) =>
  globSync(pattern, { cwd: root }).filter((file) => /\.m?ts$|\.mjs$/.test(file) && !/node_modules|\/dist\//.test(file)),
)

/** Code without comments and texts. */
const code = (text: string) =>
  text
    .replace(/\/\*[\s\S]*?\*\//g, ' ')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
    .replace(/`(?:[^`\\]|\\.)*`/g, '``')
    .replace(/(^|[^:])\/\/[^\n]*/g, '$1')
    .replace(/([(,=:]\s*)\/(?:[^/\\\n]|\\.)+\/\w*/g, '$1') // regular expressions

const wordsOf = (name: string) =>
  name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .split(/[^A-Za-z\d]+/)
    .map((word) => word.toLowerCase())

function oldWords(name: string): string[] {
  return Object.keys(kept).some((one) => name.includes(one))
    ? []
    : wordsOf(name).filter((word) => Object.hasOwn(old, word))
}

it('identifiers and files are named with the words of the glossary', () => {
  expect(files.length).toBeGreaterThan(200)
  const found = new Set<string>()
  for (const file of files) {
    for (const word of oldWords(basename(file))) found.add(`${file}: "${word}" is ${old[word]} now`)
    if (basename(file) === 'words.test.ts') continue
    for (const [name] of code(readFileSync(join(root, file), 'utf8')).matchAll(/[A-Za-z_$][\w$]*/g)) {
      for (const word of oldWords(name)) found.add(`${file}: ${name}: "${word}" is ${old[word]} now`)
    }
  }
  expect([...found].sort()).toEqual([])
})

it('so are metrics, headers, subjects, streams and commands', () => {
  const found: string[] = []
  for (const page of ['docs/wire.md', 'docs/errors.md', ...globSync('docs/reference/*.md', { cwd: root })]) {
    for (const [, name] of readFileSync(join(root, page), 'utf8').matchAll(/`([\w.<>*-]+)`/g)) {
      for (const word of oldWords(name!)) found.push(`${page}: ${name}: "${word}" is ${old[word]} now`)
    }
  }
  expect(found).toEqual([])
})
