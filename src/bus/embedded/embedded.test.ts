import { execFileSync } from 'node:child_process'
import { access, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { manyAtOnce, parentsKilled, startParent } from '../../../test/support/embedded-parent.ts'
import { alive } from '../../../test/support/processes.ts'
import { now } from '../clock.ts'
import { connect } from '../connect.ts'
import { ensureStream, persist, streamInfo } from '../index.ts'
import { findNatsServer } from './binary.ts'
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
      await persist(bus, 'kept', Buffer.from('x'), { deadline: now() + 2_000 })
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
    await using server = await embeddedNats({ probeMs: 400, onEvent: ({ type }) => events.push(type) })
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
    const parent = startParent()
    const { pid } = await parent.ready
    expect(alive(pid)).toBe(true)
    parent.kill()
    await until(() => !alive(pid))
    expect(alive(pid)).toBe(false)
  })

  it('is never one of two on a store, whenever its parent is killed −9', () => parentsKilled(2), 60_000)

  it('is one, however many start at once on what a dead one left', () => manyAtOnce(1), 60_000)

  it('listens where the last one did that was not stopped in order', async () => {
    const storeDir = await folder()
    const parent = startParent(storeDir)
    const { url } = await parent.ready
    parent.kill()
    await parent.exited
    await using next = await embeddedNats({ storeDir })
    expect(next.url).toBe(url)
  })

  it('forgets what an earlier one stored only when it has the store to itself', async () => {
    const storeDir = await folder()
    await writeFile(join(storeDir, 'notes.txt'), 'not the server’s')
    {
      await using first = await embeddedNats({ storeDir })
      await using bus = await connect({ servers: first.url })
      await ensureStream(bus, { name: 'KEPT', subjects: ['kept'] })
      await expect(embeddedNats({ storeDir, fresh: true })).rejects.toMatchObject({
        code: 'STORE_LOCKED',
        message: expect.stringContaining(`pid ${first.pid}`),
      })
      await persist(bus, 'kept', Buffer.from('x'), { deadline: now() + 2_000 })
    }
    await using second = await embeddedNats({ storeDir, fresh: true })
    await using bus = await connect({ servers: second.url })
    expect(await streamInfo(bus, 'KEPT')).toBeUndefined()
    expect(await readdir(storeDir)).toContain('notes.txt')
  })

  it('leaves no temporary folder behind when its parent is killed −9, and removes those of others', async () => {
    const parent = startParent()
    const { pid, storeDir } = await parent.ready
    const old = await mkdtemp(join(tmpdir(), 'myelin-nats-'))
    await writeFile(join(old, 'myelin-server.json'), JSON.stringify({ pid: 9_999_999, url: 'x', parent: 9_999_999 }))
    parent.kill()
    await using _ = await embeddedNats()
    const there = (path: string) =>
      access(path).then(
        () => true,
        () => false,
      )
    await until(async () => !alive(pid) && !(await there(storeDir)) && !(await there(old)))
    expect([await there(storeDir), await there(old)]).toEqual([false, false])
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

  it('names the executable that it was told of and that is none', async () => {
    process.env.MYELIN_NATS_SERVER = '/no/such/nats-server'
    await expect(embeddedNats()).rejects.toMatchObject({
      code: 'SERVER_NOT_FOUND',
      message: expect.stringContaining('MYELIN_NATS_SERVER'),
    })
    delete process.env.MYELIN_NATS_SERVER
  })

  it('says on a platform that no server is packaged for what to do', async () => {
    const path = process.env.PATH
    process.env.PATH = '/no/such/folder'
    try {
      await expect(findNatsServer('sunos-sparc')).rejects.toMatchObject({
        code: 'SERVER_NOT_FOUND',
        message: expect.stringMatching(
          /^no nats-server comes with Myelin on sunos-sparc \(only on linux-x64\).*install nats-server.*put it on PATH or name it in MYELIN_NATS_SERVER/,
        ),
      })
    } finally {
      process.env.PATH = path
    }
  })

  it('removes its temporary folder', async () => {
    const server = await embeddedNats()
    await server.stop()
    await expect(readdir(server.storeDir)).rejects.toThrow()
    expect(() => execFileSync('pgrep', ['-f', server.storeDir])).toThrow()
  })
})
