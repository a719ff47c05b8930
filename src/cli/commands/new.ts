// myelin new: a project that runs, with a contract and a passing test. The files of a whole system are those of the page
// "Getting started", which comes with the package: the page is run by the tests, and so is what is written here.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { print, printJson, UsageError } from '../text.ts'

interface Flags {
  service?: boolean
  json?: boolean
}

const root = new URL('../../../', import.meta.url)

export function addNew(program: Command): void {
  program
    .command('new')
    .description('write a project that runs, with a contract and a passing test, into an empty folder')
    .argument('<folder>', 'made when it is missing; its last part is the name of the project')
    .option('--service', 'a single service instead of a service, a processor and a page')
    .option('--json', 'output for programs')
    .addHelpText('after', '\nExamples:\n  myelin new shop\n  myelin new billing --service')
    .action(async (folder: string, flags: Flags) => {
      const path = resolve(folder)
      const name = basename(path)
      if (!/^[a-z][a-z0-9-]{0,60}$/.test(name)) {
        throw new UsageError(`"${name}": a project's name has lower-case letters, digits and dashes, a letter first`)
      }
      await refuseFilled(path)
      const files = {
        ...(flags.service ? serviceFiles(name) : await systemFiles()),
        ...(await projectFiles(name, flags)),
      }
      for (const [file, text] of Object.entries(files)) {
        await mkdir(dirname(join(path, file)), { recursive: true })
        // what appeared meanwhile is somebody's
        await writeFile(join(path, file), text, { flag: 'wx' })
      }
      const written = Object.keys(files).sort()
      if (flags.json) return printJson({ folder: path, files: written })
      print(`${written.map((file) => `  ${join(folder, file)}`).join('\n')}\n`)
      print(`Next:\n  cd ${folder}\n  npm install\n  npm test\n  npx myelin up`)
    })
}

async function refuseFilled(path: string): Promise<void> {
  const found = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new UsageError(`${path} is no folder that can be read (${error.code})`)
  })
  if (found.length > 0) throw new UsageError(`${path} is not empty: nothing was written; name a new folder`)
}

/** The files that the page "Getting started" has its readers write. */
async function systemFiles(): Promise<Record<string, string>> {
  const page = await readFile(new URL('docs/guide/getting-started.md', root), 'utf8')
  const blocks = [...page.matchAll(/^```\w+\n\/\/ ([\w./-]+\.ts)\n([\s\S]*?)^```$/gm)]
  return Object.fromEntries(blocks.map(([, file, text]) => [file!, text!]))
}

interface Package {
  readonly version: string
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
}

async function projectFiles(name: string, { service }: Flags): Promise<Record<string, string>> {
  const { version, dependencies, peerDependencies } = JSON.parse(
    await readFile(new URL('package.json', root), 'utf8'),
  ) as Package
  const manifest = {
    name,
    private: true,
    type: 'module',
    engines: { node: '>=22.18' },
    scripts: { start: 'myelin up', test: 'node --test', check: 'tsc' },
    dependencies: { myelin: `^${version}`, zod: dependencies.zod ?? peerDependencies?.zod ?? '^4.0.0' },
    devDependencies: { typescript: '>=5.9', '@types/node': '^22' },
  }
  const what = service
    ? 'A service with one endpoint: its contract in `contracts/`, its code in `units/`, its test in `test/`.'
    : 'A service, a processor and a page: contracts in `contracts/`, units in `units/`, their test in `test/`.'
  return {
    'package.json': `${JSON.stringify(manifest, null, 2)}\n`,
    'tsconfig.json': `${JSON.stringify({ compilerOptions }, null, 2)}\n`,
    '.gitignore': 'node_modules/\n.myelin/\n',
    'README.md': `# ${name}

${what} \`myelin.config.ts\` names what runs.

\`\`\`sh
npm install
npm test          # on a real nats-server of its own
npm run check     # types
npm start         # runs everything; Ctrl-C drains it
\`\`\`

While it runs: \`npx myelin ls\`, \`npx myelin top\`, \`npx myelin call ${service ? `${name}.greet '{"name":"Ada"}'` : `shop.sell '{"item":"tea","price":3}'`}\`.
`,
  }
}

const compilerOptions = {
  target: 'es2024',
  lib: ['es2024', 'esnext.disposable'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
}

function serviceFiles(name: string): Record<string, string> {
  const own = name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
  return {
    [`contracts/${name}.ts`]: `// What the service offers.
import { contract } from 'myelin/contract'
import { z } from 'zod'

export const ${own} = contract('${name}', {
  version: '1.0.0',
  endpoints: {
    greet: {
      in: z.object({ name: z.string().min(1) }),
      out: z.object({ greeting: z.string() }),
    },
  },
})
`,
    [`units/${name}.ts`]: `// How it does it.
import { service } from 'myelin/service'
import { ${own} } from '../contracts/${name}.ts'

export default service(${own}, {
  greet: ({ name }) => ({ greeting: \`Hello, \${name}!\` }),
})
`,
    'myelin.config.ts': `import { defineComposition } from 'myelin/runtime'

export default defineComposition({
  name: '${name}',
  units: { ${/-/.test(name) ? `'${name}'` : name}: { use: './units/${name}.ts' } },
})
`,
    [`test/${name}.test.ts`]: `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { start } from 'myelin/testing'
import { ${own} } from '../contracts/${name}.ts'

test('greets by name, and refuses an empty one', async () => {
  const world = await start({ composition: '.' })
  try {
    const api = world.client(${own})
    assert.deepEqual(await api.greet({ name: 'Ada' }), { greeting: 'Hello, Ada!' })
    await assert.rejects(api.greet({ name: '' }), { code: 'INVALID_INPUT' })
  } finally {
    await world.close() // fails if something was left behind
  }
})
`,
  }
}
