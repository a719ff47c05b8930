// The page "Getting started" as written, from the packed package in an empty folder: every file is written, every command
// is run, and then the page that it makes is looked at.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../support/nats.ts'
import { nodeOf, packed, strangersEnv } from '../support/packed.ts'
import { type Block, blocksOf } from '../support/pages.ts'

let tarball: Awaited<ReturnType<typeof packed>>
beforeAll(async () => {
  tarball = await packed()
})
afterAll(() => tarball?.[Symbol.asyncDispose]())

/** A reader at a terminal. */
class Reader implements AsyncDisposable {
  readonly #home: string
  readonly #env: NodeJS.ProcessEnv
  readonly #started: ChildProcess[] = []
  #folder: string

  constructor(home: string, env: NodeJS.ProcessEnv) {
    this.#home = home
    this.#folder = home
    this.#env = env
  }

  async does(block: Block): Promise<string> {
    if (block.file !== undefined) {
      const file = join(this.#folder, block.file)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, block.text)
      return ''
    }
    return block.info === 'sh up' ? this.#starts(block) : this.#types(block)
  }

  /** Types a block and waits for its end; the next one is typed in the folder where this one ended. */
  async #types({ text, line }: Block): Promise<string> {
    const commands = text.replace('npm install myelin ', `npm install ${tarball.file} `)
    const log = join(this.#home, `${line}.log`)
    const child = this.#shell(`set -e\n${commands}\npwd > ${join(this.#home, 'folder')}`, log)
    const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
    const out = await readFile(log, 'utf8')
    if (code !== 0) throw new Error(`line ${line} of the page fails with ${code}:\n${text}\n${out}`)
    this.#folder = (await readFile(join(this.#home, 'folder'), 'utf8')).trim()
    return out
  }

  /** Leaves a command running, as in a terminal of its own. */
  async #starts({ text, line }: Block): Promise<string> {
    const log = join(this.#home, `${line}.log`)
    const child = this.#shell(`exec ${text}`, log)
    this.#started.push(child)
    let out = ''
    await until(async () => {
      out = await readFile(log, 'utf8')
      if (child.exitCode !== null) throw new Error(`line ${line} of the page ends with ${child.exitCode}:\n${out}`)
      return /Ctrl-C drains it/.test(out)
    }, 60_000)
    return out
  }

  #shell(script: string, log: string): ChildProcess {
    const out = openSync(log, 'w')
    const child = spawn('bash', ['-c', script], {
      cwd: this.#folder,
      env: this.#env,
      stdio: ['ignore', out, out],
      detached: true,
    })
    closeSync(out)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#started) {
      const ended = new Promise((resolve) => child.on('exit', resolve))
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGTERM')
      if (child.exitCode === null) await ended
    }
    await rm(this.#home, { recursive: true, force: true })
  }
}

/** The first rows of an event stream. */
async function rowsAt(url: string, count: number): Promise<unknown[]> {
  const rows: unknown[] = []
  let text = ''
  const response = await fetch(url, { signal: AbortSignal.timeout(20_000) })
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const lines = text.split('\n')
    text = lines.pop()!
    for (const line of lines) if (line.startsWith('data: {"item"')) rows.push(JSON.parse(line.slice(6)))
    if (rows.length >= count) break
  }
  return rows
}

describe('getting started, as written', () => {
  it.each([24, 22])('works with Node %i', async (major) => {
    const home = await mkdtemp(join(tmpdir(), 'myelin-stranger-'))
    await using reader = new Reader(home, strangersEnv(await nodeOf(major, join(home, 'node'))))
    let out = ''
    for (const block of blocksOf('docs/guide/getting-started.md')) out += await reader.does(block)
    expect(out).toMatch(/pass 2\n/)
    expect(out).toMatch(/fail 0\n/)
    expect(await (await fetch('http://127.0.0.1:8080/')).text()).toMatch(/<table id="sales">/)
    expect(await rowsAt('http://127.0.0.1:8080/streams/sales', 2)).toEqual(
      expect.arrayContaining([
        { item: 'tea', sold: 1, revenue: 3 },
        { item: 'cake', sold: 1, revenue: 4.5 },
      ]),
    )
  })
})
