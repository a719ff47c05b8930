// The `myelin` command as users run it: a process of its own against a running service.
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Parser } from '@asyncapi/parser'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { airports } from '../examples/airline/contracts/airports.ts'
import airportsUnit from '../examples/airline/units/airports.ts'
import { connect, embeddedNats, errorCatalogue } from '../src/bus/index.ts'
import { contract } from '../src/contract/index.ts'
import { client, serve, service } from '../src/service/index.ts'
import { commandLine, main, root } from './support/cli.ts'
import { until, withNats } from './support/nats.ts'

const nats = withNats()
const { start, myelin } = commandLine(nats)

describe('myelin', () => {
  let stop: () => Promise<void>
  beforeAll(async () => {
    const running = await serve(nats.bus, airportsUnit)
    stop = () => running.drain()
  })
  afterAll(() => stop())

  it('call prints the reply, readable for programs', async () => {
    const ran = await myelin('call', 'airports.get', '{"iata":"ATL"}', '--json')
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(ran.out)).toMatchObject({ iata: 'ATL', city: 'Atlanta' })
    const streamed = await myelin('call', 'airports.search', '{"text":"san"}')
    const lines = streamed.out.trim().split('\n')
    expect(lines.length).toBeGreaterThan(20)
    expect(JSON.parse(lines[0]!)).toHaveProperty('iata')
    const all = await myelin('call', 'airports.get', '{"iata":"ATL"}', '--all')
    expect(all.out.trim().split('\n').length).toBe(1)
    const piped = await start(['call', 'airports.get', '-'], {}, '{"iata":"SFO"}').ended
    expect(JSON.parse(piped.out)).toMatchObject({ iata: 'SFO' })
  })

  it('says what is wrong and what to do, with exit code 1, or 2 for what cannot be meant', async () => {
    const ended = async (wanted: number, args: string[]) => {
      const { code, err, out } = await myelin(...args)
      expect([code, out], args.join(' ')).toEqual([wanted, ''])
      return err
    }
    const reported = (...args: string[]) => ended(1, args)
    const misused = (...args: string[]) => ended(2, args)
    expect(await reported('call', 'airports.gett')).toMatch(/^UNKNOWN_ENDPOINT: .*did you mean "get"\?[\s\S]*→/)
    expect(await reported('call', 'airprots.get')).toMatch(/^NO_RESPONDERS/)
    expect(await misused('call', 'airports')).toMatch(/^INVALID_INPUT: "airports": expected <service>\.<endpoint>/)
    expect(await misused('call', 'airports.get', '{')).toMatch(/^INVALID_INPUT: the payload is not JSON/)
    expect(await reported('call', 'airports.get', '@nothing.json')).toMatch(/^FILE_NOT_FOUND/)
    expect(await reported('call', 'airports.get', '{"iata":"atlanta"}')).toMatch(/^INVALID_INPUT: airports\.get: iata/)
    expect(await reported('call', 'airports.get', '{"iata":"XXX"}')).toContain('{"iata":"XXX"}')
    expect(await reported('call', 'airports.get', '-s', 'nats://127.0.0.1:1')).toMatch(/^SERVER_UNREACHABLE/)
    expect(await reported('tail', 'view.nothing')).toMatch(/^STREAM_NOT_FOUND/)
    expect(await misused('tail', 'airports.closed', '--from', 'soon')).toMatch(/^INVALID_INPUT/)
    expect(await misused('tail', 'evt.>', '--key', 'ATL')).toMatch(/^INVALID_INPUT: --key: it picks from an event/)
    expect(await misused('call', 'airports.search', '{"text":"san"}', '--all')).toMatch(
      /^INVALID_INPUT: --all does nothing/,
    )
    expect(await reported('contract', 'doc', 'package.json.ts')).toMatch(/^FILE_NOT_FOUND/)
    expect(await misused('tail', 'airports.closed', '--limit', '0')).toMatch(/^INVALID_INPUT: --limit/)
    expect(await misused('ls', 'unt=one')).toMatch(/^INVALID_INPUT: selector "unt=one"/)
    expect(await misused('dead', 'redrive', 'airports')).toMatch(/^INVALID_INPUT: name the sequences/)
    expect(await misused('errors', 'NOTHING')).toMatch(/^INVALID_INPUT: there is no error code/)
    expect(await reported('up', 'test')).toMatch(/^FILE_NOT_FOUND/)
    const json = await reported('call', 'airports.get', '{"iata":"XXX"}', '--json')
    expect(JSON.parse(json)).toMatchObject({ error: { code: 'UNKNOWN', data: { iata: 'XXX' } } })
    expect((await myelin('tial')).err).toContain('Did you mean tail?')
    expect((await myelin('tial')).code).toBe(2)
  })

  it('does not start a server by itself', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'myelin-cli-'))
    const child = spawn(process.execPath, ['--conditions=myelin-source', main, 'ls'], {
      cwd: empty,
      env: { ...process.env, NATS_URL: '' },
    })
    let err = ''
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    await new Promise((resolve) => child.on('close', resolve))
    expect(err).toMatch(/^SERVER_UNREACHABLE: no server is named \(NATS_URL\) and none runs in this folder/)
    await rm(empty, { recursive: true })
  })

  it('emit stores, tail shows', async () => {
    const closure = '{"iata":"ATL","reason":"snow","until":"2001-01-02T12:00:00Z"}'
    expect((await myelin('emit', 'airports.closed', closure)).out).toBe('stored as 1\n')
    expect((await myelin('emit', 'airports.closed', closure, '--id', 'x')).out).toBe('stored as 2\n')
    expect((await myelin('emit', 'airports.closed', closure, '--id', 'x')).out).toBe('already stored as 2\n')
    const tail = await myelin('tail', 'airports.closed', '--from', 'start', '-n', '2', '--json', '--headers')
    const [first] = tail.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(first).toMatchObject({ sequence: 1, subject: 'evt.airports.closed.ATL', data: JSON.parse(closure) })
    expect(first.headers).toMatchObject({ 'ce-type': 'airports.closed', 'Myelin-Caller': 'myelin-cli' })
    expect(first.event).toEqual({ id: first.headers['ce-id'], type: 'airports.closed', time: first.headers['ce-time'] })
    // the same event as other tools may send it: in structured mode
    const attributes = { specversion: '1.0', id: 'é 7', source: '/x', type: 'x.closed', time: '2001-01-02T12:00:00Z' }
    nats.bus.publish(
      'evt.airports.closed.ATL',
      Buffer.from(JSON.stringify({ ...attributes, data: JSON.parse(closure) })),
      'Content-Type:application/cloudevents+json\r\n',
    )
    await nats.bus.flush()
    const whole = await myelin('tail', 'airports.closed', '--from', '3', '-n', '1', '--json')
    expect(JSON.parse(whole.out)).toEqual({
      subject: 'evt.airports.closed.ATL',
      sequence: 3,
      event: { id: 'é 7', type: 'x.closed', time: '2001-01-02T12:00:00Z' },
      data: JSON.parse(closure),
    })
    const read = await myelin('tail', 'airports.closed', '--from', '3', '-n', '1', '--headers')
    expect(read.out).toMatch(
      /^# Content-Type: [\s\S]*^# ce-id: é 7$[\s\S]*^3 evt\.airports\.closed\.ATL \{"iata":"ATL",/m,
    )
    const following = start(['tail', 'evt.>', '-n', '1'])
    const keep = setInterval(() => void client(nats.bus, airports).closed.publish(JSON.parse(closure)), 50)
    const { out, code } = await following.ended
    clearInterval(keep)
    expect([code, out]).toEqual([0, expect.stringContaining('evt.airports.closed.ATL {"iata":"ATL"')])
  })

  it('ls lists what runs', async () => {
    expect((await myelin('ls', '--services')).out).toMatch(/SERVICE +INSTANCE[\s\S]*airports .* nearest/)
    const [found] = JSON.parse((await myelin('ls', '--services', 'airports', '--json')).out)
    expect(found).toMatchObject({ name: 'airports', version: '1.0.0' })
  })

  it('enqueue, dead ls, show and redrive', async () => {
    const { z } = await import('zod')
    const mail = contract('mail', {
      version: '1.0.0',
      jobs: { send: { payload: z.object({ to: z.string() }), attempts: 1 } },
    })
    let broken = true
    const done: string[] = []
    await using _ = await serve(
      nats.bus,
      service(mail, {
        send: ({ to }) => {
          if (broken) throw new Error('no such box')
          done.push(to)
        },
      }),
    )
    expect((await myelin('enqueue', 'mail.send', '{"to":"a"}')).out).toBe('queued as 1\n')
    let letters: { sequence: number }[] = []
    await until(async () => {
      letters = JSON.parse((await myelin('dead', 'ls', 'mail', '--json')).out || '[]')
      return letters.length === 1
    })
    expect((await myelin('dead', 'ls', 'mail')).out).toContain('no such box')
    const shown = await myelin('dead', 'show', 'mail', String(letters[0]!.sequence), '--json')
    expect(JSON.parse(shown.out)).toMatchObject({ payload: '{"to":"a"}', attempts: 1 })
    broken = false
    expect((await myelin('dead', 'redrive', 'mail')).err).toContain('--all')
    expect((await myelin('dead', 'redrive', 'mail', '--all')).out).toBe('1 put back\n')
    await until(() => done.length === 1)
  })

  it('contract doc prints a valid AsyncAPI document', async () => {
    for (const flag of ['--json', '--yaml']) {
      const args = [
        'contract',
        'doc',
        'examples/airline/contracts/airports.ts',
        'examples/airline/contracts/rebooking.ts',
      ]
      const { out, code } = await myelin(...args, ...(flag === '--yaml' ? ['--yaml'] : []))
      expect(code).toBe(0)
      const { document, diagnostics } = await new Parser().parse(out)
      expect(diagnostics.filter(({ severity }) => severity === 0)).toEqual([])
      expect(document?.version()).toBe('3.0.0')
    }
  })

  it('server runs a server that the other commands find, and stops with it', async () => {
    const store = await mkdtemp(join(tmpdir(), 'myelin-cli-'))
    const { child, ran, ended } = start(['server', '--port', '0', '--store', store, '--json'])
    await until(() => ran.out.includes('\n'))
    const { url, pid } = JSON.parse(ran.out)
    await using bus = await connect({ servers: url, requires: { jetstream: true } })
    expect(bus.connected).toBe(true)
    const second = await myelin('server', '--port', '0', '--store', store)
    expect(second.err).toMatch(/^STORE_LOCKED/)
    const taken = await myelin('server', '--port', new URL(url).port, '--store', join(store, 'other'))
    expect(taken.err).toMatch(/^PORT_TAKEN/)
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
    expect(() => process.kill(pid, 0)).toThrow()
    await rm(store, { recursive: true })
  })

  it('up runs a composition and drains it on SIGTERM', async () => {
    const plan = JSON.parse((await myelin('up', 'examples/airline', '--dry-run', '--json')).out)
    expect(plan).toContainEqual({ unit: 'airports', use: './units/airports.ts', replicas: 2, isolation: 'none' })
    expect(JSON.parse((await myelin('up', '--schema')).out)).toHaveProperty('properties.units')
    const { child, ran, ended } = start(['up', 'examples/airline', '--only', 'airports'])
    await until(() => ran.out.includes('Ctrl-C drains it'))
    child.kill('SIGTERM')
    const { code, out } = await ended
    expect([code, out.match(/stopped/g)?.length]).toEqual([0, 2])
  })

  it('up ends only the unit that throws where nobody catches, and obeys a signal that comes while units start', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'myelin-up-'))
    const file = join(folder, 'myelin.yaml')
    const use = join(root, 'test/fixtures/units/counter.ts')
    const write = (units: object) => writeFile(file, JSON.stringify({ name: 'x', units }))
    await write({
      neighbour: { use, config: { subject: 'n' } },
      faulty: { use, config: { subject: 'f', throwAfterMs: 300 } },
    })
    const throwing = start(['up', file])
    await until(() => (throwing.ran.out.match(/faulty\.\w+ ready/g) ?? []).length === 2)
    expect(throwing.ran.out).toMatch(/faulty\.\w+ failed: nobody catches this/)
    expect(throwing.ran.out).not.toMatch(/neighbour\.\w+ failed/)
    throwing.child.kill('SIGTERM')
    expect((await throwing.ended).code).toBe(0)

    await write({ slow: { use, config: { subject: 's', startMs: 1_000 } } })
    const early = start(['up', file])
    await until(() => early.ran.out.includes('starting'))
    early.child.kill('SIGTERM')
    const { code, out } = await early.ended
    expect([code, /slow\.\w+ stopped/.test(out)]).toEqual([0, true])

    // a process that is still starting does not outlive its runner
    await write({ slow: { use, isolation: 'process', config: { subject: 's', startMs: 2_000 } } })
    const killed = start(['up', file])
    const children = new Set<number>()
    await until(async () => (await running()).length === 1)
    killed.child.kill('SIGKILL')
    await until(async () => (await running()).length === 0)
    await rm(folder, { recursive: true })

    /** Processes that run the unit of this test. */
    async function running(): Promise<string[]> {
      const { stdout } = await promisify(execFile)('ps', ['-eo', 'ppid,pid,args'])
      const mine = stdout.split('\n').filter((line) => line.includes('runtime/child.ts'))
      for (const line of mine) {
        const [ppid, pid] = line.trim().split(/\s+/).map(Number)
        if (ppid === killed.child.pid) children.add(pid!)
      }
      return mine.filter((line) => children.has(Number(line.trim().split(/\s+/)[1])))
    }
  })

  it('steers a running composition: ls, describe, ctl, scale, rollout, diff, apply, audit, logs, top', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'myelin-cli-'))
    const use = join(root, 'test/fixtures/units/counter.ts')
    await writeFile(
      join(dir, 'myelin.yaml'),
      `name: steered\nunits:\n  one: { use: "${use}", replicas: 2, config: { subject: steered } }\n`,
    )
    const { child, ran, ended } = start(['up', dir])
    await until(() => ran.out.includes('Ctrl-C drains it'))
    const json = async (...args: string[]) => {
      const { out, err } = await myelin(...args, '--json')
      expect(err).toBe('')
      return JSON.parse(out)
    }
    expect((await json('ls', 'unit=one')).map((m: { condition: string }) => m.condition)).toEqual(['ready', 'ready'])
    expect((await myelin('top', '--once')).out).toMatch(/UNIT[\s\S]*one .* ready/)
    // into a pipe it is the table once, without a screen; as JSON it is what there is, then what happens
    const piped = await myelin('top')
    expect([piped.code, piped.out]).toEqual([0, expect.stringMatching(/^UNIT[\s\S]*one .* ready/)])
    expect(piped.out).not.toContain('\u001b')
    const once = await myelin('top', 'unit=one', '--once', '--json')
    expect(
      once.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).unit),
    ).toEqual(['one', 'one'])
    const following = start(['top', 'one', '--json'])
    await until(() => following.ran.out.trim().split('\n').length === 2)
    following.child.kill('SIGINT')
    expect((await following.ended).code).toBe(0)
    expect(await json('list', '-p', dir)).toMatchObject({ units: [{ unit: 'one', kind: 'counter' }] })
    expect((await myelin('list', 'one', '-p', dir)).out).toMatch(/subject +string +required +"steered"/)
    // what needs no module is told without a composition as well
    for (const name of ['processor', 'myelin:processor']) {
      const { out } = await myelin('list', name)
      expect(out).toMatch(
        /^myelin:processor \(processor\): [\s\S]*aggregate\.<name>\.quantile\.q +number 0…1 +required/,
      )
    }
    expect((await myelin('list', 'nothing', '-p', dir)).err).toMatch(/^NO_MATCH/)
    const logs = start(['logs', 'one'])
    const paused = await json('ctl', 'pause', 'unit=one', '--by', 'ada')
    expect(paused.acks.map((a: { from: string; to: string }) => `${a.from} ${a.to}`)).toEqual([
      'ready paused',
      'ready paused',
    ])
    expect(await json('describe', 'one')).toMatchObject({ desired: [{ desired: { state: 'paused', by: 'ada' } }] })
    const different = await myelin('diff', dir, '--json')
    expect([different.code, JSON.parse(different.out)[0].what]).toEqual([1, 'state'])
    expect((await myelin('apply', dir)).out).toMatch(/one +local +state +ok/)
    expect((await myelin('diff', dir)).out).toBe('what runs is what the composition says\n')
    // one unit that nobody runs keeps nothing from the others, and is told
    await myelin('ctl', 'pause', 'one')
    const more = await mkdtemp(join(tmpdir(), 'myelin-more-'))
    const text = await readFile(join(dir, 'myelin.yaml'), 'utf8')
    await writeFile(
      join(more, 'myelin.yaml'),
      text.replace('units:', `units:\n  absent: { use: ${root}/test/fixtures/units/counter.ts }`),
    )
    const partly = await myelin('apply', more)
    expect(partly.code).toBe(1)
    expect(partly.out).toMatch(/absent +replicas +NO_MATCH/)
    expect(partly.out).toMatch(/one +local +state +ok/)
    await rm(more, { recursive: true })
    for (const [option, value] of [
      ['--percent', 'some'],
      ['--revision', 'x'],
    ] as const)
      expect((await myelin('ctl', 'pause', 'one', option, value)).err).toMatch(
        /^INVALID_INPUT: --\w+: expected a number/,
      )
    expect((await json('scale', 'one', '3')).ok).toBe(true)
    const rolled = await myelin('rollout', 'one', '--config', '{"unhealthy":true}', '--batch', '34%', '--bake', '2s')
    expect([rolled.code, rolled.err]).toEqual([1, expect.stringMatching(/^ROLLED_BACK: .*check fine failed/)])
    expect((await json('rollouts'))[0]).toMatchObject({ phase: 'rolled-back', spec: { unit: 'one' } })
    expect((await json('audit')).map((entry: { verb: string }) => entry.verb)).toContain('rollout')
    await until(() => logs.ran.out.includes('command: pause one'))
    logs.child.kill('SIGINT')
    // and afterwards, from what is kept
    const since = await myelin('logs', 'one', '--since', '10m', '--no-follow', '--json')
    const messages = since.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg as string)
    expect(messages.some((text) => text.includes('command: pause one'))).toBe(true)
    expect((await myelin('logs', '--since', 'yesterday')).code).toBe(2)
    expect((await myelin('logs', '--no-follow')).code).toBe(2)
    for (const [exit, args, reported] of [
      [2, ['ctl', 'puase', 'one'], 'did you mean "pause"'],
      [2, ['ctl', 'pause', 'unt=one'], 'selector "unt=one"'],
      [1, ['ctl', 'pause', 'two'], 'NO_MATCH'],
      [1, ['ctl', 'configure', 'one', '--config', '{"subject":7}'], 'INVALID_CONFIG'],
      [2, ['ctl', 'configure', 'one', '--config', '7'], '--config: expected keys and values'],
      [2, ['scale', 'one', 'many'], 'copies: expected a whole number'],
      [1, ['describe', 'on'], 'did you mean "one"'],
      [1, ['rollouts', 'abort', 'nothing'], 'NO_MATCH'],
    ] as const) {
      const { code, err } = await myelin(...args)
      expect([code, err]).toEqual([exit, expect.stringContaining(reported)])
    }
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
    await rm(dir, { recursive: true })
  }, 180_000) // thirty commands, each a process of its own

  it('emit and enqueue check what they send against what the service said, unless told not to', async () => {
    const shop = contract('shop', {
      version: '1.0.0',
      events: { sold: { payload: z.object({ n: z.number().int(), at: z.iso.datetime() }) } },
      jobs: { pack: { payload: z.object({ n: z.number() }) } },
    })
    await using _ = await serve(nats.bus, service(shop, { pack: () => undefined }))
    const wrong = await myelin('emit', 'shop.sold', '{"n":"one","at":"soon"}')
    expect([wrong.code, wrong.err]).toEqual([
      1,
      expect.stringMatching(/^INVALID_INPUT: shop\.sold: n: must be integer/),
    ])
    expect(wrong.err).toContain('at: must match')
    expect(wrong.err).toContain('--no-check')
    expect((await myelin('emit', 'shop.sold', '{"n":1,"at":"2026-01-01T00:00:00Z"}')).out).toBe('published\n')
    expect((await myelin('emit', 'shop.sold', '{"n":"one"}', '--no-check')).out).toBe('published\n')
    expect((await myelin('enqueue', 'shop.pack', '{}')).err).toMatch(
      /^INVALID_INPUT: shop\.pack: must have required property 'n'/,
    )
    expect((await myelin('enqueue', 'shop.pack', '{"n":1}')).code).toBe(0)
  })

  it('a service that never gave anything up has no dead letters, which is no error', async () => {
    expect(await myelin('dead', 'ls', 'airports')).toMatchObject({ code: 0, out: 'airports has no dead letters\n' })
    expect(await myelin('dead', 'ls', 'airports', '--json')).toMatchObject({ code: 0, out: '[]\n' })
  })

  it('tail and logs say that they wait, and that the server went away and came back', async () => {
    const server = await embeddedNats()
    const { port } = new URL(server.url.replace('nats:', 'http:'))
    const env = { NATS_URL: server.url }
    const waiting = [start(['tail', 'some.>'], env), start(['logs'], env)]
    await until(() => waiting.every(({ ran }) => ran.err.includes('waiting for')), 20_000)
    await server.stop()
    await until(() => waiting.every(({ ran }) => ran.err.includes('is lost')), 20_000)
    const again = await embeddedNats({ port: Number(port) })
    await until(() => waiting.every(({ ran }) => ran.err.includes('connected again')), 20_000)
    for (const { child } of waiting) child.kill('SIGINT')
    for (const { ended } of waiting) expect(await ended).toMatchObject({ code: 0, out: '' })
    await again.stop()
  })

  it('errors and completion come from what there is', async () => {
    expect((await myelin('errors', 'STREAM_FULL')).out).toContain(errorCatalogue.STREAM_FULL.fix)
    expect((await myelin('errors', 'STREAM_FUL')).err).toContain('did you mean STREAM_FULL?')
    const script = (await myelin('completion', 'bash')).out
    const dir = await mkdtemp(join(tmpdir(), 'myelin-cli-'))
    await writeFile(
      join(dir, 'c.sh'),
      [
        script,
        `try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _myelin; echo "\${COMPREPLY[@]}"; }`,
        'try myelin dead re',
        // arguments, and values of options, do not end it
        'try myelin call airports.get "{}" --ti',
        'try myelin -s nats://x dead redrive rebooking 17 --al',
        'try myelin completion f',
      ].join('\n'),
    )
    const bash = spawn('bash', [join(dir, 'c.sh')])
    let out = ''
    bash.stdout.on('data', (chunk) => {
      out += chunk
    })
    await new Promise((resolve) => bash.on('close', resolve))
    expect(out.trim().split('\n')).toEqual(['redrive', '--timeout', '--all', 'fish'])
    expect((await myelin('completion', 'fish')).out).toContain('complete -c myelin')
    expect(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version).toBe(
      (await myelin('--version')).out.trim(),
    )
    await rm(dir, { recursive: true })
  })
})
