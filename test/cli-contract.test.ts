// `myelin contract diff` as CI runs it: two files, or one and what runs; its output and its exit codes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { contract } from '../src/contract/index.ts'
import { serve, service } from '../src/service/index.ts'
import { commandLine, root } from './support/cli.ts'
import { withNats } from './support/nats.ts'

const nats = withNats()
const { myelin } = commandLine(nats)
let folder: string
const file = (name: string) => join(folder, name)

const source = (version: string, fields: string, more = '') => `
import { contract } from '${join(root, 'src/contract/index.ts')}'
import { z } from '${join(root, 'node_modules/zod/index.js')}'
export const shop = contract('shop', { version: '${version}', endpoints: {
  price: { in: z.object({ ${fields} }), out: z.object({ cents: z.number() }) },
}${more} })`

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'myelin-contract-'))
  await writeFile(file('old.ts'), source('1.0.0', 'sku: z.string()'))
  await writeFile(file('more.ts'), source('1.1.0', 'sku: z.string(), at: z.string().optional()'))
  await writeFile(file('breaks.ts'), source('1.1.0', 'sku: z.string(), at: z.string()'))
  await writeFile(file('none.ts'), 'export const nothing = 1')
  await writeFile(file('throws.ts'), `throw new Error('oh')`)
  await writeFile(file('other.json'), '{"asyncapi":"3.0.0"}')
  await writeFile(file('no.json'), '{')
})
afterAll(() => rm(folder, { recursive: true }))

describe('myelin contract diff', () => {
  it('ends with 0 when the new version is compatible, 1 when it breaks somebody, and says whom and why', async () => {
    expect(await myelin('contract', 'diff', file('old.ts'), file('old.ts'))).toMatchObject({
      code: 0,
      out: 'shop 1.0.0 → 1.0.0: no difference\n',
    })
    const additive = await myelin('contract', 'diff', file('old.ts'), file('more.ts'), '--json')
    expect([additive.code, JSON.parse(additive.out)]).toEqual([
      0,
      {
        compatible: true,
        contracts: [
          {
            ...{ contract: 'shop', old: '1.0.0', new: '1.1.0', compatible: true, raise: 'minor' },
            changes: [
              {
                kind: 'endpoint',
                name: 'price',
                effect: 'additive',
                for: ['callers'],
                path: 'request.at',
                reason: 'is new',
              },
            ],
          },
        ],
      },
    ])
    const breaking = await myelin('contract', 'diff', file('old.ts'), file('breaks.ts'))
    expect(breaking.code).toBe(1)
    expect(breaking.out).toMatch(/^shop 1\.0\.0 → 1\.1\.0: breaking; its version should be 2\.0\.0 or higher\nCHANGE/)
    expect(breaking.out).toMatch(/breaking +callers +endpoint price\.request\.at +is required now/)
  })

  it('takes documents that were kept of a version', async () => {
    expect(await myelin('contract', 'doc', file('old.ts'), '-o', file('old.json'))).toMatchObject({ code: 0 })
    expect(await myelin('contract', 'doc', file('old.ts'), '--yaml', '-o', file('old.yaml'))).toMatchObject({ code: 0 })
    expect(await myelin('contract', 'diff', file('old.yaml'), file('old.json'))).toMatchObject({ code: 0 })
    expect(await myelin('contract', 'diff', file('old.json'), file('breaks.ts'))).toMatchObject({ code: 1 })
  })

  it('compares with what runs', async () => {
    const shop = contract('shop', {
      version: '1.0.0',
      endpoints: { price: { in: z.object({ sku: z.string() }), out: z.object({ cents: z.number() }) } },
    })
    const stopped = await myelin('contract', 'diff', file('old.ts'), '--running')
    expect(stopped).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^NO_RESPONDERS/) })
    await using _ = await serve(nats.bus, service(shop, { price: () => ({ cents: 1 }) }))
    expect(await myelin('contract', 'diff', file('more.ts'), '--running')).toMatchObject({ code: 0 })
    const breaking = await myelin('contract', 'diff', file('breaks.ts'), '--running', '--json')
    expect([breaking.code, JSON.parse(breaking.out).compatible]).toEqual([1, false])
  })

  it('ends with 2 and says why when there is nothing to compare', async () => {
    const refused = async (...args: string[]) => {
      const { code, out, err } = await myelin('contract', 'diff', ...args)
      expect([code, out], args.join(' ')).toEqual([2, ''])
      return err
    }
    const [missing, none, throws, other, no, one, running] = await Promise.all([
      refused(file('missing.ts'), file('old.ts')),
      refused(file('old.ts'), file('none.ts')),
      refused(file('old.ts'), file('throws.ts')),
      refused(file('old.ts'), file('other.json')),
      refused(file('old.ts'), file('no.json')),
      refused(file('old.ts')),
      refused(file('old.ts'), file('old.ts'), '--running', '--json'),
    ])
    expect(missing).toMatch(/^FILE_NOT_FOUND: .*missing\.ts cannot be read/)
    expect(none).toMatch(/^INVALID_CONTRACT: .*none\.ts exports no contract/)
    expect(throws).toMatch(/^INVALID_CONTRACT: .*throws\.ts cannot be loaded: oh/)
    expect(other).toMatch(/^INVALID_CONTRACT: .*other\.json does not say which contracts it was made from/)
    expect(no).toMatch(/^INVALID_CONTRACT: .*no\.json is neither JSON nor YAML/)
    expect(one).toMatch(/^INVALID_INPUT: name two files/)
    expect(JSON.parse(running)).toMatchObject({ error: { code: 'INVALID_INPUT' } })
  })
})
