import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf, withNats } from '../../test/support/nats.ts'
import { ensureStream, MyelinError, nameOf, ownedStream, streamInfo } from './internal.ts'
import { consumerName, type NameKind } from './names.ts'

const kinds: Record<NameKind, number> = {
  events: 2,
  jobs: 2,
  'dead letters': 1,
  redrive: 1,
  tries: 1,
  view: 1,
  'view part': 2,
  checkpoint: 1,
  'checkpoint part': 2,
  input: 1,
  'error output': 1,
  'pump error output': 1,
  audit: 0,
  beats: 0,
  logs: 0,
  bucket: 1,
}

describe('names of streams', () => {
  it('are plain where their parts are', () => {
    expect(nameOf('events', 'shop', 'sold')).toBe('EVT_shop_sold')
    expect(nameOf('view', 'room_hours')).toBe('VIEW_room_hours')
    expect(nameOf('view part', 'hours', 0)).toBe('VIEWPART_hours_0')
    expect(nameOf('events', 'shop', 'eu_sold')).toBe('EVT_shop_eu=5Fsold')
    expect(nameOf('events', 'shop_eu', 'sold')).toBe('EVT_shop=5Feu_sold')
    expect(nameOf('error output', 'a b/c')).toBe('BAD_a=20b=2Fc')
    expect(nameOf('beats')).toBe('BEATS')
  })

  it('never meet, whatever they are made of', () => {
    const part = fc.stringMatching(/^[a-c_=0.-]{1,4}$/)
    const made = fc
      .constantFrom(...(Object.keys(kinds) as NameKind[]))
      .chain((kind) => fc.tuple(fc.constant(kind), fc.array(part, { minLength: kinds[kind], maxLength: kinds[kind] })))
    fc.assert(
      fc.property(made, made, ([kind, parts], [otherKind, otherParts]) => {
        const same = kind === otherKind && parts.join('\n') === otherParts.join('\n')
        expect(nameOf(kind, ...parts) === nameOf(otherKind, ...otherParts)).toBe(same)
      }),
      { numRuns: 2_000 },
    )
  })

  it('are refused when the server would, with the reason', () => {
    expect(() => nameOf('events', 'a'.repeat(200), 'b'.repeat(200))).toThrow('longer than 255 bytes')
    for (const name of ['crew.app', 'crew app', 'crew/app', 'crew*', '>', '', 'a\n']) {
      expect(() => consumerName(name, 'as')).toThrow(MyelinError)
    }
    expect(consumerName('crew_app-1', 'as')).toBe('crew_app-1')
  })
})

describe('a stream that belongs to something else', () => {
  const nats = withNats()
  const config = async (name: string) => (await streamInfo(nats.bus, name))!.config

  it('is not changed by another owner, and both are named', async () => {
    const first = { ...ownedStream('view', 'taken'), subjects: ['taken.*'], metadata: { mark: 'first' } }
    await ensureStream(nats.bus, first)
    const other = { name: first.name, owner: 'view other', subjects: ['other.*'] }
    const refused = ensureStream(nats.bus, other)
    await expect(refused).rejects.toMatchObject({
      code: 'STREAM_MISMATCH',
      message: expect.stringMatching(/VIEW_taken belongs to "view taken" .*taken\.\*.*"view other".*other\.\*/),
    })
    expect(await codeOf(ensureStream(nats.bus, { name: first.name, subjects: ['taken.*'], maxMessages: 1 }))).toBe(
      'STREAM_MISMATCH',
    )
    expect(await config(first.name)).toMatchObject({ subjects: ['taken.*'], max_msgs: -1 })
    // its own owner may change it, and keeps what others noted in it
    await ensureStream(nats.bus, { ...first, subjects: ['taken.>'], metadata: { more: 'x' } })
    expect(await config(first.name)).toMatchObject({
      subjects: ['taken.>'],
      metadata: { mark: 'first', more: 'x', 'myelin-owner': 'view taken' },
    })
  })

  it('is taken over when nobody is named as its owner and it takes the same subjects, and only then', async () => {
    await ensureStream(nats.bus, { name: 'VIEW_older', subjects: ['older.*'] })
    const foreign = { ...ownedStream('view', 'older'), subjects: ['newer.*'] }
    expect(await codeOf(ensureStream(nats.bus, foreign))).toBe('STREAM_MISMATCH')
    expect((await config('VIEW_older')).subjects).toEqual(['older.*'])
    await ensureStream(nats.bus, { ...foreign, subjects: ['older.*'], maxMessages: 5 })
    expect(await config('VIEW_older')).toMatchObject({ max_msgs: 5, metadata: { 'myelin-owner': 'view older' } })
  })

  it('is named when it has the subjects that a new one is to take', async () => {
    await ensureStream(nats.bus, { name: 'FIRST', subjects: ['wanted.*'] })
    await expect(ensureStream(nats.bus, { name: 'SECOND', subjects: ['wanted.*'] })).rejects.toMatchObject({
      code: 'STREAM_MISMATCH',
      message: expect.stringContaining('stream FIRST takes it already'),
    })
  })
})
