// Who may import whom: the rules of docs/architecture.md, checked on the sources.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const src = join(import.meta.dirname, '../src')

/** Folders that each folder may import; itself always. */
const allowed: Record<string, readonly string[]> = {
  bus: [],
  contract: ['bus'],
  unit: ['bus'],
  service: ['bus', 'contract', 'unit'],
  stream: ['bus', 'contract', 'unit', 'service'],
  sse: ['bus', 'contract', 'unit', 'service', 'stream'],
  heartbeat: ['bus', 'contract', 'unit', 'service'],
  control: ['bus', 'contract', 'unit', 'service', 'heartbeat'],
  runtime: ['bus', 'unit', 'heartbeat', 'control', 'stream', 'sse'],
  testing: ['bus', 'contract', 'unit', 'service', 'stream', 'runtime'],
  cli: ['bus', 'contract', 'service', 'stream', 'heartbeat', 'control', 'runtime', 'unit'],
}

const files = globSync('**/*.ts', { cwd: src }).filter((file) => !file.endsWith('.test.ts'))
const importsOf = (file: string) =>
  [...readFileSync(join(src, file), 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, path]) =>
    relative(src, resolve(join(src, dirname(file)), path!)),
  )

describe('imports', () => {
  it('go only where the architecture allows, and through a door', () => {
    const wrong: string[] = []
    for (const file of files) {
      const folder = file.split('/')[0]!
      for (const target of importsOf(file)) {
        const other = target.split('/')[0]!
        if (other === folder) continue
        if (!allowed[folder]?.includes(other)) wrong.push(`${file} imports ${target}: ${folder} may not use ${other}`)
        else if (target !== `${other}/index.ts` && target !== `${other}/internal.ts`)
          wrong.push(`${file} imports ${target}: use a door, ${other}/index.ts or ${other}/internal.ts`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('has a rule for every folder', () => {
    expect(Object.keys(allowed).sort()).toEqual([...new Set(files.map((file) => file.split('/')[0]!))].sort())
  })
})
