// Configurations as people write them: what is not understood is refused with its place, never taken for something else.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { commandLine } from '../../test/support/cli.ts'
import { withNats } from '../../test/support/nats.ts'
import { connect } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { createLogger, defineUnit, parseConfig, serve } from '../unit/internal.ts'
import { builtInUnit, loadComposition, readYaml, up } from './index.ts'

const nats = withNats()
const command = commandLine(nats)
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'myelin-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const read = (text: string) => readYaml(text, 'x.yaml').value

describe('YAML', () => {
  it('merges what << refers to, and keeps whole numbers, anchors and JSON as they are', () => {
    expect(read('base: &b { speed: 60, limit: 2 }\nfeed:\n  <<: *b\n  limit: 3\n')).toMatchObject({
      feed: { speed: 60, limit: 3 },
    })
    expect(read('{"n": 9007199254740991, "f": 1.5, "t": true, "s": "1"}')).toEqual({
      n: 9007199254740991,
      f: 1.5,
      t: true,
      s: '1',
    })
  })

  it.each([
    ['a: 1\nb: !secret x\n', /^x\.yaml:2:4: .*!secret/],
    ['a: 1\nid: 9007199254740993\n', /^x\.yaml:2:5: the whole number 9007199254740993 is larger/],
    ['a: 1\nb: 2\na: 3\n', /^x\.yaml:3:1: .*unique/],
    ['{"a": 1, "a": 2}', /^x\.yaml:1:10: .*unique/],
    ['feed: {speed:60}\n', /^x\.yaml:1:8: "speed:60" is a key without a value; write .* "speed: 60"/],
    ['a: *none\n', /x\.yaml:1:4: .*none/],
    ['a: &a [1, *a]\n', /^x\.yaml:1:11: \*a is inside/],
    ['a: [1\n', /^x\.yaml:\d+:\d+: /],
    ['a: 1\n---\nb: 2\n', /^x\.yaml:\d+:\d+: .*documents/],
  ])('refuses %j with its place', (text, message) => {
    expect(() => read(text)).toThrow(message)
  })
})

describe('a key that nobody knows', () => {
  const unit = defineUnit({
    kind: 'feed',
    name: 'feed',
    config: z.object({
      speed: z.number().default(1),
      retry: z.object({ times: z.number() }).optional(),
      sinks: z.array(z.union([z.object({ file: z.string() }), z.object({ url: z.string() })])).default([]),
      labels: z.looseObject({ team: z.string().optional() }).optional(),
    }),
    start: async () => ({ drain: async () => undefined }),
  })
  const wrong = (config: unknown) =>
    parseConfig(unit, config, "unit 'feed'").then(
      () => 'none',
      (error: Error) => error.message,
    )

  it('is refused in a configuration at every depth, with what may have been meant, unless the schema is loose', async () => {
    expect(await wrong({ sped: 60 })).toContain('config.sped: unknown key "sped"; did you mean "speed"?')
    expect(await wrong({ 'speed:60': null })).toContain('write a blank after the colon: "speed: 60"')
    expect(await wrong({ retry: { times: 1, tmies: 2 } })).toContain('config.retry.tmies: unknown key "tmies"')
    expect(await wrong({ sinks: [{ file: 'x' }, { url: 'y', fiel: 'z' }] })).toContain('config.sinks.1.fiel')
    expect(await wrong({ labels: { colour: 'red' }, speed: 2 })).toBe('none')
    expect(await wrong({ speed: 'fast', sped: 1 })).toMatch(/config\.speed: .*; config\.sped: unknown/)
    const gateway = await builtInUnit('myelin:sse', 'x')
    await expect(parseConfig(gateway, { prot: 1, streams: {} }, 'x')).rejects.toThrow('did you mean "port"?')
  })

  it('is refused in contracts and in the options of connect', async () => {
    const endpoint = { in: z.object({}), out: z.number() }
    const made = (definition: object) => () => contract('shop', { version: '1.0.0', ...definition } as never)
    expect(made({ endpoints: { get: { ...endpoint, idempotant: true } } })).toThrow(
      'shop.endpoints.get: unknown key "idempotant"; did you mean "idempotent"?',
    )
    expect(made({ endpoint: { get: endpoint } })).toThrow('did you mean "endpoints"?')
    expect(made({ jobs: { pack: { payload: z.object({}), retries: 3 } } })).toThrow('shop.jobs.pack: unknown key')
    expect(made({ events: { sold: { payload: z.object({}), durable: { maxage: '1d' } } } })).toThrow('"maxAge"?')
    await expect(connect({ servers: nats.server.url, tokn: 'x' } as never)).rejects.toThrow(
      'unknown key "tokn"; did you mean "token"?',
    )
  })
})

describe('a secret', () => {
  const seen: unknown[] = []
  const vault = defineUnit({
    kind: 'vault',
    name: 'vault',
    config: z.object({
      password: z.string().refine((value) => value !== 'forbidden-word', 'x'),
      pin: z.string().optional(),
    }),
    async start({ config, log }) {
      seen.push(config)
      log.warn(`opening with ${config.password}`)
      return { drain: async () => undefined }
    },
  })

  it('is read where the unit runs, from the environment or a file, and shown nowhere', async () => {
    const file = join(folder, 'pin')
    await writeFile(file, 'file-secret-77\n')
    process.env.MYELIN_TEST_SECRET = 'env-secret-"99"'
    const lines: string[] = []
    await using bus = await nats.connect()
    const listening = bus.subscribe('log.>', (message) => void lines.push(message.string()))
    await bus.flush()
    const log = createLogger({ unit: 'vault' }, { bus: nats.bus, site: 'local' })
    const config = { password: { secret: 'env:MYELIN_TEST_SECRET' }, pin: { secret: `file:${file}` } } as never
    await using _ = await serve(nats.bus, vault, { config, log })
    expect(seen).toEqual([{ password: 'env-secret-"99"', pin: 'file-secret-77' }])
    await nats.bus.flush()
    await bus.flush()
    listening.unsubscribe()
    expect(lines.join()).toContain('opening with [secret]')
    expect(lines.join()).not.toContain('env-secret')
  })

  it('that is not there is told by its reference, and one that does not fit is not told at all', async () => {
    const missing = { password: { secret: 'env:NOT_SET_AT_ALL' } }
    await expect(parseConfig(vault, missing, 'vault')).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('config.password: the environment variable NOT_SET_AT_ALL'),
    })
    process.env.MYELIN_TEST_SECRET = 'top-secret-5'
    const chosen = defineUnit({
      kind: 'v',
      name: 'v',
      config: z.object({ mode: z.string().refine(() => false, { error: ({ input }) => `${input} is no mode` }) }),
      start: async () => ({ drain: async () => undefined }),
    })
    const refused = await parseConfig(chosen, { mode: { secret: 'env:MYELIN_TEST_SECRET' } }, 'v').catch(
      (error) => error,
    )
    expect(refused.message).toContain('config.mode: [secret] is no mode')
    expect(JSON.stringify(refused.data)).not.toContain('top-secret')
  })
})

describe('a composition', () => {
  it('is told with file, line and column, of every key and of every module', async () => {
    const write = (name: string, text: string) => writeFile(join(folder, name), text)
    await write('bad.ts', "import { x } from './good.ts'\nexport default x\n")
    await write('good.ts', 'export const y = 1\n')
    await write('broken.mjs', 'const a = 1\nexport default { kind: oops oops }\n')
    await write('lost.ts', "import './nowhere.ts'\n")
    const counter = join(import.meta.dirname, '../../test/fixtures/units/counter.ts')
    await write(
      'myelin.yaml',
      `name: x
units:
  bad: { use: ./bad.ts }
  broken: { use: ./broken.mjs }
  lost: { use: ./lost.ts }
  none: { use: ./none.ts }
  counter:
    use: ${counter}
    config: { subject: s, sloow: true }
`,
    )
    const { code, err } = await command.myelin('up', folder, '--dry-run')
    expect(code).toBe(1)
    expect(err).toMatch(/myelin\.yaml:3:\d+: units\.bad\.use: \S*bad\.ts:1:10: .*export named 'x'/)
    expect(err).toMatch(/units\.broken\.use: \S*broken\.mjs:2:29: /)
    expect(err).toMatch(/units\.lost\.use: \S*lost\.ts:1:8: /)
    expect(err).toMatch(/myelin\.yaml:6:\d+: units\.none\.use: .*cannot be read/)
    expect(err).toMatch(/myelin\.yaml:9:27: config\.sloow: unknown key "sloow"; did you mean "slow"\?/)
    await write('keys.yaml', 'name: x\nunits:\n  a: { use: ./a.ts, replicsa: 2 }\n')
    await expect(loadComposition(join(folder, 'keys.yaml'))).rejects.toThrow(
      /keys\.yaml:3:21: units\.a: unknown key "replicsa"; did you mean "replicas"\?/,
    )
    const starting = up(nats.bus, await loadComposition(folder), { only: ['counter'], beatMs: 0 })
    await expect(starting).rejects.toThrow(
      /^unit 'counter': \S*myelin\.yaml:9:27: config\.sloow: unknown key "sloow"; did you mean "slow"\?$/,
    )
    for (const isolation of ['process', 'worker']) {
      await write(
        'own.yaml',
        `name: x\nunits:\n  own:\n    use: ${counter}\n    isolation: ${isolation}\n    config:\n      sloow: true\n      subject: s\n`,
      )
      const own = await loadComposition(join(folder, 'own.yaml'))
      await expect(up(nats.bus, own, { beatMs: 0 })).rejects.toThrow(/own\.yaml:7:7: config\.sloow: unknown key/)
      // what flags say is not written there
      const flagged = up(nats.bus, own, { beatMs: 0, config: { own: { sloow: false } } })
      await expect(flagged).rejects.toThrow(/^unit 'own': config\.sloow: unknown key/)
    }
  }, 60_000)
})
