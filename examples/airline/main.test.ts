// `npm start` as a user runs it, and its page as a person sees it.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../test/support/nats.ts'

let store: string
beforeAll(async () => {
  store = await mkdtemp(join(tmpdir(), 'myelin-start-'))
})
afterAll(() => rm(store, { recursive: true, force: true }))

function start(...args: string[]) {
  const main = join(import.meta.dirname, 'main.ts')
  const child = spawn(
    process.execPath,
    ['--conditions=myelin-source', main, '--store', store, '--port', '0', ...args],
    {
      env: { ...process.env, NATS_URL: '' },
    },
  )
  const ran = { out: '', err: '' }
  child.stdout.on('data', (chunk) => {
    ran.out += chunk
  })
  child.stderr.on('data', (chunk) => {
    ran.err += chunk
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  return { child, ran, ended }
}

describe('npm start', () => {
  it('ends by itself with a summary, nothing lost and nothing twice, and goes on where it stopped', {
    timeout: 60_000,
  }, async () => {
    const first = start('--for', '3s', '--speed', 'max', '--limit', '50000', '--json', '--no-board')
    expect([await first.ended, first.ran.err]).toEqual([0, ''])
    const summary = JSON.parse(first.ran.out)
    expect(summary).toMatchObject({ lost: 0, duplicates: 0, unread: 0, jobsWaiting: 0 })
    expect(summary.flights).toBeGreaterThan(0)
    const second = start('--once', '--speed', 'max', '--limit', '60000', '--json', '--no-board')
    expect(await second.ended).toBe(0)
    const rest = JSON.parse(second.ran.out)
    expect(rest).toMatchObject({ lost: 0, duplicates: 0, unread: 0 })
    expect(rest.windows).toBeGreaterThan(0)
  })

  it('says what is wrong with its options', async () => {
    for (const [args, told] of [
      [['--speed', 'fast'], "expected a number from 0 to 1,000,000, or 'max'"],
      [['--for', 'ever'], 'expected a duration like 20s or 5m'],
      [['--port', 'x'], 'expected a port'],
      [['--server', 'nats://127.0.0.1:1'], 'SERVER_UNREACHABLE'],
    ] as const) {
      const { ran, ended } = start(...args)
      expect(await ended).toBe(1)
      expect(ran.err).toContain(told)
    }
  })

  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
  if (!executablePath) console.warn('SKIPPED: no Chromium here, so the page is not tested; apt-get install chromium')
  const built = existsSync(join(import.meta.dirname, 'board/dist/index.html'))
  if (!built) console.warn('SKIPPED: the page is not built; npm run build')
  it.skipIf(!executablePath || !built)('shows a page that lives and obeys', { timeout: 60_000 }, async () => {
    const { child, ran, ended } = start('--fresh', '--speed', '36000')
    const browser = await chromium.launch({
      executablePath: executablePath!,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
    try {
      await until(() => /page +http/.test(ran.out), 20_000)
      const page = await browser.newPage()
      const errors: string[] = []
      page.on('pageerror', (error) => errors.push(error.message))
      await page.goto(/page +(http\S+)/.exec(ran.out)![1]!)
      await page.waitForSelector('#worst tr:nth-child(8)')
      await until(async () => (await page.locator('circle.airport').count()) > 150, 20_000)
      expect(await page.textContent('#connection')).toBe('live')
      await page.click('button[data-speed="0"]')
      await page.waitForSelector('button[data-speed="0"][aria-pressed="true"]')
      await until(async () => {
        const clock = await page.textContent('#clock')
        await page.waitForTimeout(600) // two of the feed's progress messages
        return clock === (await page.textContent('#clock'))
      })
      await page.click('button[data-speed="86400"]')
      const before = await page.textContent('#clock')
      await until(async () => (await page.textContent('#clock')) !== before)
      expect(errors).toEqual([])
    } finally {
      await browser.close()
      child.kill('SIGINT')
    }
    expect(await ended).toBe(0)
    expect(ran.out).toMatch(/lost +0/)
  })
})
