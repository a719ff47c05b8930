// One clear sentence where this Node is too old, before anything is loaded that it cannot read. No syntax here that an
// old one would not know.
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const wanted = engines.node.replace(/^>=/, '')
const [major, minor] = process.versions.node.split('.').map(Number)
const [least, leastMinor] = wanted.split('.').map(Number)
if (major < least || (major === least && minor < leastMinor)) {
  console.error(
    `Myelin needs Node ${wanted} or newer; this is Node ${process.versions.node}. Get one at https://nodejs.org.`,
  )
  process.exit(1)
}
