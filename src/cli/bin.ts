#!/usr/bin/env node
// The `myelin` command's first file: one clear sentence where this Node is too old, before anything is loaded that it
// cannot read. No syntax here that an old one would not know, and no import but by need.
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  engines: { node: string }
}
const wanted = engines.node.replace(/^>=/, '')
const [least = 0, leastMinor = 0] = wanted.split('.').map(Number)
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < least || (major === least && minor < leastMinor)) {
  console.error(
    `myelin needs Node ${wanted} or newer; this is Node ${process.versions.node}. Get one at https://nodejs.org.`,
  )
  process.exitCode = 1
} else await import('./main.ts')
