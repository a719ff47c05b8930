// `myelin stream`: looking into a processor, at what it refused, and time travel, as users do it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { persist, streamInfo } from '../src/bus/index.ts'
import { client, serve } from '../src/service/index.ts'
import type { RunningUnit } from '../src/unit/index.ts'
import rooms, { house } from './fixtures/units/rooms.ts'
import { commandLine } from './support/cli.ts'
import { until, withNats } from './support/nats.ts'

const nats = withNats()
const { start, myelin } = commandLine(nats)
const module = 'test/fixtures/units/rooms.ts'

const messages = async (stream: string) => (await streamInfo(nats.bus, stream))?.state.messages
const refuse = (text: string) =>
  persist(nats.bus, 'evt.house.read.x', Buffer.from(text), { deadline: Date.now() + 5_000 })

describe('myelin stream', () => {
  let unit: RunningUnit
  beforeAll(async () => {
    unit = await serve(nats.bus, rooms)
    const api = client(nats.bus, house)
    for (const at of [100, 900, 1_500, 2_500, 3_500]) {
      await api.read.publish({ at, room: 'attic', value: at })
      await api.read.publish({ at, room: 'cellar', value: 7 })
    }
    await until(() => unit.stats!().in === 10)
  })
  afterAll(() => unit.drain())

  it('inspect shows the steps and how each partition is doing, again and again if wanted', async () => {
    const { code, out, err } = await myelin('stream', 'inspect', 'rooms')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^reads evt\.house\.read\.\* of EVT_house_read\n {2}→ rooms\/1\n/)
    expect(out).toMatch(/→ tumbling\(1000\)[\s\S]*writes view\.rooms\n/)
    expect(out).toMatch(/PARTITION +INSTANCE +WATERMARK/)
    expect(out).toMatch(/\n0 +\w+ +1970-01-01T00:00:03\.500Z +0 +10 +6 +0 +0 +2 /)
    const [answer] = JSON.parse((await myelin('stream', 'inspect', 'rooms', '--json')).out)
    expect(answer).toMatchObject({
      views: ['rooms'],
      partitionCount: 1,
      partitions: [{ in: 10, out: 6, watermarkMs: 3_500 }],
    })
    const watching = start(['stream', 'inspect', 'rooms', '--watch', '--json'])
    await until(() => watching.ran.out.trim().split('\n').length >= 2)
    watching.child.kill('SIGINT')
    expect((await watching.ended).code).toBe(0)
  })

  it('says who there is when nobody answers', async () => {
    const { code, err } = await myelin('stream', 'inspect', 'romms')
    expect([code, err]).toEqual([1, expect.stringMatching(/^NO_RESPONDERS: no instance of processor "romms" answers/)])
    expect(err).toContain('no processor beats here')
    expect((await myelin('stream', 'errors', 'romms')).err).toMatch(/^NO_RESPONDERS/)
  })

  it('errors shows what was refused, with the reason and where it came from', async () => {
    expect((await myelin('stream', 'errors', 'rooms')).out).toBe('rooms has refused nothing\n')
    const following = start(['stream', 'errors', 'rooms', '--follow', '--json'])
    await refuse('no json')
    await refuse(`{"at":1,"room":"a","value":"${'long '.repeat(100)}"}`)
    await until(() => following.ran.out.trim().split('\n').length === 2)
    following.child.kill('SIGTERM')
    const { code, out } = await following.ended
    expect(code).toBe(0)
    const [first, second] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(first).toMatchObject({
      code: 'MALFORMED_PAYLOAD',
      payload: 'no json',
      source: { stream: 'EVT_house_read', sequence: 11, subject: 'evt.house.read.x' },
    })
    expect(second.payload).toHaveLength(530)
    const shown = await myelin('stream', 'errors', 'rooms', '--limit', '1')
    expect(shown.out).toMatch(/TIME +CODE +REASON[\s\S]* INVALID_INPUT .*EVT_house_read 12/)
    expect(shown.out).toContain('…')
    expect(shown.out).not.toContain('MALFORMED')
    expect((await myelin('stream', 'errors', 'rooms', '-n', 'all')).err).toMatch(/^INVALID_INPUT: --limit/)
  })

  it('replay runs it once more under another name, does nothing outside, and is removed again', async () => {
    const alarms = await messages('JOB_house_alarm')
    const span = ['--from', '1970-01-01T00:00:01Z', '--until', '1970-01-01T00:00:03Z']
    const { code, out, err } = await myelin('stream', 'replay', module, '--as', 'again', ...span)
    expect([code, out]).toEqual([0, expect.stringContaining('myelin tail view.again --from start')])
    expect(out).toMatch(/12 events in, 4 rows out, 2 rejected/)
    expect(err).toMatch(/12 in, 4 out, \d+\/s, lag 0/)
    const tail = await myelin('tail', 'view.again', '--from', 'start', '-n', '4', '--json')
    expect(
      tail.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).data),
    ).toContainEqual({ room: 'attic', second: '1970-01-01T00:00:01Z', n: 1, total: 1_500 })
    expect(await messages('JOB_house_alarm')).toBe(alarms)
    expect(await messages('VIEW_rooms')).toBe(6)
    // the same again goes on where it was; another span is another replay
    expect((await myelin('stream', 'replay', module, '--as', 'again', ...span)).out).toMatch(/^caught up/)
    const other = await myelin('stream', 'replay', module, '--as', 'again')
    expect(other.err).toMatch(/^INVALID_OPTION: "again" is a replay of rooms, 1970-01-01T00:00:01\.000Z to/)
    expect((await myelin('stream', 'replay', '--remove', 'again')).err).toContain('say --yes')
    const removed = JSON.parse((await myelin('stream', 'replay', '--remove', 'again', '--yes', '--json')).out)
    expect(removed.map(({ stream }: { stream: string }) => stream)).toEqual(['VIEW_again', 'CKPT_again', 'BAD_again'])
    for (const stream of ['VIEW_again', 'CKPT_again', 'BAD_again']) expect(await messages(stream)).toBeUndefined()
    const whole = await myelin('stream', 'replay', module, '--as', 'again', '--json')
    expect(JSON.parse(whole.out)).toMatchObject({ caughtUp: true, in: 12, out: 6, open: 2, views: ['again'] })
  })

  it('replay in partitions waits for the copies of its input', async () => {
    const { code, out } = await myelin('stream', 'replay', 'test/fixtures/units/parts.ts', '--as', 'parted', '--json')
    expect([code, JSON.parse(out)]).toEqual([
      0,
      expect.objectContaining({ caughtUp: true, in: 12, out: 6, rejected: 2 }),
    ])
    const removed = await myelin('stream', 'replay', '--remove', 'parted', '--yes')
    expect(removed.out).toContain(
      'VIEW_parted, VIEWPART_parted_0, VIEWPART_parted_1, VIEWPART_parted_2, CKPTPART_parted_0',
    )
    expect(removed.out).toContain('IN_parted')
  })

  it('replay --follow goes on until it is told to stop, and cannot be removed before', async () => {
    const following = start(['stream', 'replay', module, '--as', 'on', '--follow', '--json'])
    await until(async () => (await messages('VIEW_on')) === 6)
    expect((await myelin('stream', 'replay', '--remove', 'on', '--yes')).err).toMatch(/^ILLEGAL_TRANSITION/)
    await client(nats.bus, house).read.publish({ at: 9_000, room: 'attic', value: 1 })
    await until(async () => (await messages('VIEW_on')) === 8)
    following.child.kill('SIGINT')
    expect((await following.ended).code).toBe(0)
    expect((await myelin('stream', 'replay', '--remove', 'on', '--yes')).code).toBe(0)
  })

  it('refuses to write where something else does, and what is no processor', async () => {
    const reported = async (...args: string[]) => (await myelin('stream', 'replay', ...args)).err
    expect(await reported(module, '--as', 'rooms')).toMatch(/^INVALID_OPTION: "rooms" is taken: CKPT_rooms exists/)
    expect(await reported('--remove', 'rooms', '--yes')).toMatch(/^STREAM_NOT_FOUND: "rooms" is a processor of its own/)
    expect(await reported('--remove', 'nothing', '--yes')).toMatch(/^STREAM_NOT_FOUND: there is no replay "nothing"/)
    expect(await reported(module)).toMatch(/^INVALID_INPUT: name the replay/)
    expect(await reported('test/fixtures/units/counter.ts', '--as', 'x')).toMatch(
      /^INVALID_OPTION: counter is a counter/,
    )
    expect(await reported('nothing.ts', '--as', 'x')).toMatch(/^FILE_NOT_FOUND: module: nothing\.ts cannot be read/)
    expect(await reported(module, '--as', 'x', '--from', 'soon')).toMatch(/^INVALID_INPUT: --from/)
    const folder = await mkdtemp(join(tmpdir(), 'myelin-replay-'))
    const use = join(import.meta.dirname, 'fixtures/units/rooms.ts')
    await writeFile(join(folder, 'myelin.yaml'), `name: x\nunits: { attic: { use: "${use}" } }\n`)
    expect(await reported('atic', '-p', folder, '--as', 'x')).toContain('did you mean "attic"?')
    expect((await myelin('stream', 'replay', 'attic', '-p', folder, '--as', 'composed')).code).toBe(0)
    await rm(folder, { recursive: true })
  })
})
