// The README's commands as written, while the airline runs.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { start, until } from '../../src/testing/index.ts'
import { main, root } from '../support/cli.ts'
import { blocksOf } from '../support/pages.ts'

/** What a shell would make of a line: words, quoted ones as a whole, no comment. */
const wordsOf = (line: string) =>
  [...line.replace(/\s#.*$/, '').matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '')

const commands = blocksOf('README.md')
  .filter(({ info }) => info === 'console')
  .flatMap(({ text }) => text.split('\n'))
  .filter((line) => line.startsWith('$ npx myelin '))
  .map((line) => wordsOf(line.slice('$ npx myelin '.length)))

it('every `npx myelin` line of the README does something and ends well', async () => {
  expect(commands.length).toBeGreaterThan(5)
  await using world = await start({ composition: join(root, 'examples/airline'), config: { board: { port: 0 } } })
  const reported: string[] = []
  for (const words of commands) {
    const child = spawn(process.execPath, ['--conditions=myelin-source', main, ...words], {
      cwd: join(root, 'examples/airline'),
      env: { ...process.env, NATS_URL: world.server.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    // some go on until somebody presses Ctrl-C
    const follows = ['top', 'tail'].includes(words[0]!)
    await until(() => child.exitCode !== null || (follows && out !== ''), '60s').finally(() => child.kill('SIGINT'))
    const code = await ended
    if ((code !== 0 && !(follows && code === null)) || out === '')
      reported.push(`${words.join(' ')} ends with ${code}: ${out}${err}`)
  }
  expect(reported).toEqual([])
})
