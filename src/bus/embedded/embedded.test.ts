import { execFileSync, spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { connect } from '../connect.ts'
import { ensureStream, store, streamInfo } from '../jetstream/index.ts'
import { type EmbeddedEvent, embeddedNats, runningServer } from './index.ts'

const folders: string[] = []
const folder = async () => {
  const made = await mkdtemp(join(tmpdir(), 'myelin-test-'))
  folders.push(made)
  return made
}
afterEach(async () => {
  for (const made of folders.splice(0)) await rm(made, { recursive: true, force: true })
})
const alive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const until = async (done: () => boolean | Promise<boolean>) => {
  for (let i = 0; i < 700 && !(await done()); i++) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe('an embedded server', () => {
  it('is ready when it resolves, keeps streams over a restart, and leaves nothing when stopped', async () => {
    const storeDir = await folder()
    const first = await embeddedNats({ storeDir, websocketPort: 0, monitorPort: 0 })
    expect(await runningServer(storeDir)).toMatchObject({ pid: first.pid, url: first.url })
    {
      await using bus = await connect({ servers: first.url, requires: { jetstream: true } })
      await ensureStream(bus, { name: 'KEPT', subjects: ['kept'] })
      await store(bus, 'kept', Buffer.from('x'), { deadline: Date.now() + 2_000 })
      await using web = await connect({ servers: first.websocketUrl! })
      expect(web.serverVersion).toBe(bus.serverVersion)
      expect((await fetch(`${first.monitorUrl}/healthz`)).status).toBe(200)
    }
    const { pid } = first
    await first.stop()
    await first.stop()
    expect(alive(pid)).toBe(false)
    expect(await runningServer(storeDir)).toBeUndefined()
    await using second = await embeddedNats({ storeDir })
    await using bus = await connect({ servers: second.url })
    expect((await streamInfo(bus, 'KEPT'))?.state.messages).toBe(1)
  })

  it('comes back on the same port after kill −9, and connections find it again', async () => {
    const events: string[] = []
    await using server = await embeddedNats({ onEvent: ({ type }) => events.push(type) })
    await using bus = await connect({ servers: server.url })
    const { pid, url } = server
    process.kill(pid, 'SIGKILL')
    await until(() => server.restarts === 1 && bus.connected)
    expect(server.url).toBe(url)
    expect(server.pid).not.toBe(pid)
    await bus.flush()
    expect(events).toEqual(['started', 'died', 'restarted'])
  })

  it('is killed and restarted when it hangs', async () => {
    const events: EmbeddedEvent['type'][] = []
    await using server = await embeddedNats({ probeMs: 100, onEvent: ({ type }) => events.push(type) })
    process.kill(server.pid, 'SIGSTOP')
    await until(() => server.restarts === 1)
    expect(events).toEqual(['started', 'hung', 'died', 'restarted'])
  })

  it('gives up after a crash loop and says why', async () => {
    await using server = await embeddedNats({ probeMs: 0 })
    const reason = server.closed()
    const timer = setInterval(() => alive(server.pid) && process.kill(server.pid, 'SIGKILL'), 10)
    expect(await reason).toMatch(/5 times/)
    clearInterval(timer)
  })

  it('ends with its parent, even when the parent is killed −9', async () => {
    const script = join(await folder(), 'parent.ts')
    const door = fileURLToPath(new URL('./index.ts', import.meta.url))
    await writeFile(
      script,
      `import { embeddedNats } from ${JSON.stringify(door)}\nconst s = await embeddedNats()\nconsole.log(s.pid, s.storeDir)\nsetInterval(() => {}, 1000)`,
    )
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [pid, storeDir] = (
      await new Promise<string>((resolve) => parent.stdout.once('data', (data) => resolve(String(data))))
    )
      .trim()
      .split(' ')
    folders.push(storeDir!)
    expect(alive(Number(pid))).toBe(true)
    parent.kill('SIGKILL')
    await until(() => !alive(Number(pid)))
    expect(alive(Number(pid))).toBe(false)
  })

  it('says which port is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => squatter.once('listening', resolve))
    const { port } = squatter.address() as { port: number }
    await expect(embeddedNats({ port })).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining(String(port)),
    })
    squatter.close()
  })

  it('refuses a store that another server uses, and takes one that a dead server left', async () => {
    const storeDir = await folder()
    await using _ = await embeddedNats({ storeDir })
    await expect(embeddedNats({ storeDir })).rejects.toMatchObject({ code: 'STORE_LOCKED' })
    const stale = await folder()
    await writeFile(
      join(stale, 'myelin-server.json'),
      JSON.stringify({ pid: 999_999_9, url: 'nats://127.0.0.1:1', parent: 999_999_9 }),
    )
    await using second = await embeddedNats({ storeDir: stale })
    expect(second.port).toBeGreaterThan(0)
  })

  it('passes on what nats-server says of a bad configuration, and names a missing one', async () => {
    await expect(embeddedNats({ extraConfig: 'no_such_setting: 1' })).rejects.toMatchObject({
      code: 'SERVER_FAILED',
      message: expect.stringContaining('no_such_setting'),
    })
    await expect(embeddedNats({ configFile: '/no/such.conf' })).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  it('names the places it looked for the executable', async () => {
    process.env.MYELIN_NATS_SERVER = '/no/such/nats-server'
    await expect(embeddedNats()).rejects.toMatchObject({
      code: 'SERVER_NOT_FOUND',
      message: expect.stringContaining('MYELIN_NATS_SERVER'),
    })
    delete process.env.MYELIN_NATS_SERVER
  })

  it('removes its temporary folder', async () => {
    const server = await embeddedNats()
    await server.stop()
    await expect(readdir(server.storeDir)).rejects.toThrow()
    expect(() => execFileSync('pgrep', ['-f', server.storeDir])).toThrow()
  })
})
