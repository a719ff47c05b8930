// Event streams in a real browser, through what happens to browsers: lost networks, sleeping tabs, killed and moved
// servers. The claim is always the same: every event once and in order.
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureStream, streamWriter } from 'myelin/bus'
import { fromStream, sseGateway } from 'myelin/sse'
import { ensureView, view } from 'myelin/stream'
import { serve } from 'myelin/unit'
import { type BrowserServer, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until, withNats } from './support/nats.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (!executablePath)
  console.warn('SKIPPED: no Chromium here, so nothing is tested in a browser; apt-get install chromium')

const nats = withNats()
const browserSide = join(import.meta.dirname, '../src/sse/browser.ts')
const gateway = sseGateway({
  streams: { seen: fromStream('SEEN', { policy: 'disconnect' }) },
  routes: (app) => {
    app.get('/', (_request, reply) => reply.type('text/html').send('<title>empty</title>'))
    app.get('/browser.js', async (_request, reply) => {
      const script = stripTypeScriptTypes(await readFile(browserSide, 'utf8'))
      return reply.type('text/javascript').send(script)
    })
  },
})

async function start(config: Record<string, unknown> = {}) {
  const unit = await serve(nats.bus, gateway, { config: { port: 0, retryMs: 200, ...config } as never })
  const port = unit.stats!().port!
  return { unit, port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => unit.drain() }
}

/** Stores so many events; the result is the sequence of the last one. */
async function send(count: number, filler = ''): Promise<number> {
  const writer = await streamWriter(nats.bus, 'SEEN')
  for (let n = 0; n < count; n++) {
    writer.add('SEEN.a', Buffer.from(JSON.stringify({ n, filler })))
    if (n % 100 === 99) await writer.flush()
  }
  await writer.flush()
  return writer.acknowledged
}

/** Notes the ids of what a native EventSource gives. */
const note = (page: Page, path: string, event: string) =>
  page.evaluate(
    ([path, event]) => {
      const ids: number[] = []
      Object.assign(globalThis, { ids })
      new EventSource(path!).addEventListener(event!, (reported) =>
        ids.push(Number((reported as { lastEventId?: string }).lastEventId)),
      )
    },
    [path, event],
  )
const idsOf = (page: Page) => page.evaluate(() => (globalThis as unknown as { ids: number[] }).ids)
const sequences = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Waits until the last event is there, then expects each once and in order. */
async function expectAll(page: Page, from: number, to: number) {
  await until(async () => (await idsOf(page)).at(-1) === to, 20_000)
  expect(await idsOf(page)).toEqual(sequences(from, to))
}

/** A network between browser and gateway that can be cut. */
async function network(port: number) {
  const links = new Set<Socket>()
  const state = { up: true }
  const server = createServer((near) => {
    if (!state.up) {
      near.resetAndDestroy()
      return
    }
    const far = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      links.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => links.delete(one))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      state.up = false
      for (const link of links) link.resetAndDestroy()
    },
    restore: () => {
      state.up = true
    },
    [Symbol.asyncDispose]: async () => {
      for (const link of links) link.destroy()
      server.close()
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A process and all that it started. */
function family(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
    } catch {
      // gone meanwhile
    }
  }
  const all = (one: number): number[] => [one, ...(children.get(one) ?? []).flatMap(all)]
  return all(pid)
}

/** A browser's helpers come and go: one that is gone needs no signal. */
function signal(pids: readonly number[], name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

describe.skipIf(!executablePath)('an event stream in a browser', () => {
  let server: BrowserServer
  let open: () => Promise<Page>
  beforeAll(async () => {
    await ensureStream(nats.bus, { name: 'SEEN', subjects: ['SEEN.*'] })
    server = await chromium.launchServer({
      executablePath: executablePath!,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
    const browser = await chromium.connect(server.wsEndpoint())
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    open = async () => context.newPage()
  })
  afterAll(() => server?.close())

  it('goes on after its network was lost', async () => {
    await using at = await start()
    await using way = await network(at.port)
    const page = await open()
    await page.goto(way.url)
    await note(page, '/streams/seen', 'seen')
    await until(() => at.unit.stats!().clients === 1)
    const from = (await send(50)) - 49
    for (let round = 0; round < 3; round++) {
      await until(async () => (await idsOf(page)).length > 0)
      way.cut()
      await send(200)
      way.restore()
      await send(20) // while it comes back
    }
    await expectAll(page, from, await send(10))
    await page.close()
  })

  it('goes on after its tab was frozen', async () => {
    await using at = await start()
    const page = await open()
    await page.goto(at.url)
    await note(page, '/streams/seen', 'seen')
    await until(() => at.unit.stats!().clients === 1)
    const from = (await send(10)) - 9
    const devtools = await page.context().newCDPSession(page)
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
    await send(500)
    await devtools.send('Page.setWebLifecycleState', { state: 'active' })
    await expectAll(page, from, await send(10))
    await page.close()
  })

  it('goes on after the machine slept so long that the gateway gave up on it', async () => {
    await using at = await start({ maxBuffered: 100, stuckMs: 500, heartbeatMs: 100 })
    const page = await open()
    await page.goto(at.url)
    await note(page, '/streams/seen', 'seen')
    await until(() => at.unit.stats!().clients === 1)
    const from = (await send(10)) - 9
    await until(async () => (await idsOf(page)).length === 10)
    const asleep = family(server.process().pid!)
    signal(asleep, 'SIGSTOP')
    try {
      const filler = crypto.getRandomValues(Buffer.alloc(6_000)).toString('base64') // gzip makes nothing of it
      for (let i = 0; i < 40 && at.unit.stats!().clients! > 0; i++) await send(100, filler)
      await until(() => at.unit.stats!().clients === 0)
      expect(at.unit.stats!()).toMatchObject({ slow: 1 })
    } finally {
      signal(asleep, 'SIGCONT') // whatever happened: the tests after this one use the same browser
    }
    await expectAll(page, from, await send(10))
    await page.close()
  })

  it('goes on after its gateway was killed -9: the board', async () => {
    const delays = view('delays', { key: 'origin' })
    await ensureView(nats.bus, delays)
    const writer = await streamWriter(nats.bus, 'VIEW_delays')
    const rows = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const row = { origin: 'ATL', hour: '2001-03-01T05:00:00Z', flights: i, mean: 1, p50: 1, p95: 1, late: 0 }
        writer.add('view.delays.ATL', Buffer.from(JSON.stringify(row)))
      }
      await writer.flush()
      return writer.acknowledged
    }
    const port = await freePort()
    const board = async (): Promise<ChildProcess> => {
      const unit = join(import.meta.dirname, '../examples/airline/units/board.ts')
      const args = [nats.server.url, unit, JSON.stringify({ port, retryMs: 200 })]
      const child = fork(join(import.meta.dirname, 'fixtures/serve-unit.ts'), args, {
        execArgv: ['--conditions=myelin-source', '--no-warnings'],
      })
      await once(child, 'message')
      return child
    }
    const from = await rows(1)
    const first = await board()
    const page = await open()
    await page.goto(`http://127.0.0.1:${port}/`)
    await note(page, '/streams/delays', 'delays')
    await until(async () => (await idsOf(page)).length === 1)
    await rows(50)
    first.kill('SIGKILL')
    await once(first, 'exit')
    await rows(300)
    const second = await board()
    await expectAll(page, from, await rows(10))
    if ((await page.title()) !== '') {
      await page.waitForSelector('#connection[data-state="live"]') // the page's own streams as well
    }
    second.kill('SIGKILL')
    await page.close()
  })

  it('shares one HTTP/2 connection with more streams than HTTP/1.1 has connections', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'myelin-tls-'))
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '1', '-subj', '/CN=localhost'], {
      stdio: 'ignore',
    })
    await using at = await start({ tls: { certFile, keyFile } })
    rmSync(folder, { recursive: true })
    const page = await open()
    await page.goto(`https://127.0.0.1:${at.port}`)
    const protocol = () =>
      page.evaluate(
        () =>
          (performance.getEntriesByType('navigation' as never)[0] as unknown as Record<string, string>).nextHopProtocol,
      )
    expect(await protocol()).toBe('h2')
    for (let i = 0; i < 9; i++)
      await page.evaluate(() => Object.assign(globalThis, { other: new EventSource('/streams/seen') }))
    await note(page, '/streams/seen', 'seen')
    await until(() => at.unit.stats!().clients === 10)
    const from = (await send(500)) - 499
    await expectAll(page, from, await send(10))
    await page.close()
    await until(() => at.unit.stats!().clients === 0)
  })

  it('goes with `listen` where a stopped gateway sends it, and back after an HTTP error', async () => {
    await using second = await start({ cors: '*' })
    const first = await start({ moveTo: second.url })
    const page = await open()
    await page.goto(first.url)
    // as text: the test runner would rewrite the import
    await page.addScriptTag({
      type: 'module',
      content: `
        import { listen } from '/browser.js'
        globalThis.ids = []
        listen('/streams/seen', { row: (_row, id) => ids.push(id) }, { retryMs: 200 })`,
    })
    await until(() => first.unit.stats!().clients === 1)
    const from = (await send(20)) - 19
    await until(async () => (await idsOf(page)).length === 20)
    await first.unit.drain()
    await send(20)
    await until(() => second.unit.stats!().clients === 1)
    await send(20)
    // a browser gives up on a 503 for good; `listen` does not
    await using third = await start({ port: first.port, maxClients: 1 })
    const taken = await open()
    await taken.goto(third.url)
    await note(taken, '/streams/seen', 'seen')
    await until(() => third.unit.stats!().clients === 1)
    await second.unit.drain()
    await until(() => third.unit.stats!().rejected! > 0)
    await send(20)
    await taken.close()
    await until(() => third.unit.stats!().clients === 1)
    await expectAll(page, from, await send(10))
    await page.close()
  })
})
