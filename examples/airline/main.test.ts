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
  const own = [
    ...(args.includes('--server') ? [] : ['--store', store]),
    ...(args.includes('--no-board') ? [] : ['--port', '0']),
  ]
  const child = spawn(process.execPath, ['--conditions=myelin-source', main, ...own, ...args], {
    env: { ...process.env, NATS_URL: '' },
  })
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
    for (const [args, reported] of [
      [['--speed', 'fast'], "expected a number from 0 to 1,000,000, or 'max'"],
      [['--for', 'ever'], 'expected a duration like 20s or 5m'],
      [['--port', 'x'], 'expected a port'],
      [['--server', 'nats://127.0.0.1:1'], 'SERVER_UNREACHABLE'],
      [
        ['--server', 'nats://127.0.0.1:1', '--fresh'],
        'INVALID_OPTION: --fresh empties the store of a server of its own',
      ],
    ] as const) {
      const { ran, ended } = start(...args)
      expect(await ended).toBe(1)
      expect(ran.err).toContain(reported)
    }
  })

  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
  if (!executablePath) console.warn('SKIPPED: no Chromium here, so the page is not tested; apt-get install chromium')
  const built = existsSync(join(import.meta.dirname, 'board/dist/index.html'))
  if (!built) console.warn('SKIPPED: the page is not built; npm run build')
  it.skipIf(!executablePath || !built)('shows a page that lives and obeys', { timeout: 120_000 }, async () => {
    const { child, ran, ended } = start('--fresh', '--speed', '36000')
    const browser = await chromium.launch({
      executablePath: executablePath!,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
    try {
      await until(() => /page +http/.test(ran.out), 40_000)
      const page = await browser.newPage()
      const errors: string[] = []
      page.on('pageerror', (error) => errors.push(error.message))
      await page.goto(/page +(http\S+)/.exec(ran.out)![1]!)
      await page.waitForSelector('#worst tr:nth-child(8)')
      await until(async () => (await page.locator('circle.airport').count()) > 150, 20_000)
      expect(await page.textContent('#connection')).toBe('live')
      // the keyboard reaches an airport, and the arrow keys the others
      await page.focus('button[data-speed="max"]')
      await page.keyboard.press('Tab')
      const reached = () => page.evaluate<string>('document.activeElement.dataset.iata')
      const first = await reached()
      expect(first).toMatch(/^[A-Z0-9]{3}$/)
      await until(async () => (await page.textContent('#tip'))!.startsWith(`${first} ·`))
      for (const key of ['ArrowRight', 'ArrowLeft', 'ArrowUp', 'ArrowDown']) await page.keyboard.press(key)
      expect(await reached()).not.toBe(first)
      await page.keyboard.press('Escape')
      expect(await page.isHidden('#tip')).toBe(true)
      await page.click('button[data-speed="0"]')
      await page.waitForSelector('button[data-speed="0"][aria-pressed="true"]')
      await until(async () => {
        const clock = await page.textContent('#clock')
        await page.waitForTimeout(600) // two of the feed's progress messages
        return clock === (await page.textContent('#clock'))
      })
      expect(await page.textContent('#clock-note')).toMatch(/^paused · /)
      // the last hour only, and delays only
      const worst = await page.locator('#worst tr td:nth-child(4)').allTextContents()
      expect(worst.every((median) => Number.parseInt(median, 10) > 0)).toBe(true)
      // on a phone everything fits, and a tap near an airport tells of it
      const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, hasTouch: true })
      const small = await phone.newPage()
      await small.goto(page.url())
      await until(async () => (await small.locator('circle.airport').count()) > 150, 20_000)
      expect(await small.evaluate('document.documentElement.scrollWidth')).toBe(360)
      const { x, y, width } = (await small.locator('circle[data-iata="SEA"]').boundingBox())!
      await small.touchscreen.tap(x + width / 2 + 6, y)
      await until(async () => (await small.textContent('#tip'))!.startsWith('SEA · Seattle, WA'))
      expect(await small.isVisible('#tip')).toBe(true)
      // totals are totals, not since this page was opened
      for (const total of ['#windows', '#rebooked']) {
        expect(Number((await small.textContent(total))!.replaceAll(',', ''))).toBeGreaterThan(0)
      }
      await phone.close()
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
