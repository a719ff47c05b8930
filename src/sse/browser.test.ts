import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import { z } from 'zod'
import { contract } from '../contract/internal.ts'
import { view } from '../stream/index.ts'
import { listen, type RowOf } from './browser.ts'
import { fromEvent, type fromTable, type TableRow } from './index.ts'

const Delay = z.object({ origin: z.string(), mean: z.number() })
const delays = view('delays', { key: 'origin', row: Delay })
const house = contract('house', { version: '1.0.0', events: { rang: { payload: z.object({ n: z.number() }) } } })
const rang = fromEvent(house, 'rang')

describe('listen', () => {
  it('knows the row of what is offered, from its one definition', () => {
    expectTypeOf<RowOf<typeof delays>>().toEqualTypeOf<z.infer<typeof Delay>>()
    expectTypeOf<RowOf<typeof rang>>().toEqualTypeOf<{ n: number }>()
    expectTypeOf<RowOf<ReturnType<typeof fromTable<boolean>>>>().toEqualTypeOf<TableRow<boolean>>()
    expectTypeOf<RowOf<{ own: string }>>().toEqualTypeOf<{ own: string }>()
  })

  it('asks for what comes after the last event it saw, wherever it is sent', () => {
    const opened: { href: string; listeners: Map<string, (event: unknown) => void>; close: () => void }[] = []
    class FakeSource {
      listeners = new Map<string, (event: unknown) => void>()
      close = vi.fn()
      readonly href: string
      constructor(href: string) {
        this.href = href
        opened.push(this)
      }
      addEventListener(name: string, listener: (event: unknown) => void) {
        this.listeners.set(name, listener)
      }
    }
    vi.stubGlobal('EventSource', FakeSource)
    vi.stubGlobal('location', { href: 'https://a.example/board/' })
    const rows: unknown[] = []
    const gaps: unknown[] = []
    const listening = listen<typeof delays>('/streams/delays?every=250', {
      row: ({ origin }, id) => rows.push([origin, id]),
      gap: (gap) => gaps.push(gap),
    })
    const emit = (name: string, data: unknown, lastEventId = '') =>
      opened.at(-1)!.listeners.get(name)!({ data: JSON.stringify(data), lastEventId })
    emit('delays', { origin: 'ATL', mean: 1 }, '7')
    emit('gap', { after: 7, firstAvailable: 9 })
    emit('move', { url: 'https://b.example' })
    expect(opened.map(({ href }) => href)).toEqual([
      'https://a.example/streams/delays?every=250',
      'https://b.example/streams/delays?every=250&lastEventId=7',
    ])
    expect(opened[0]!.close).toHaveBeenCalled()
    expect([rows, gaps, listening.lastEventId]).toEqual([[['ATL', 7]], [{ after: 7, firstAvailable: 9 }], '7'])
    // cut off before any event came: it goes on where it began
    const fresh = listen<typeof delays>('/streams/delays', { row: () => undefined })
    emit('position', '', '41')
    emit('move', { url: 'https://b.example' })
    expect(opened.at(-1)!.href).toBe('https://b.example/streams/delays?lastEventId=41')
    fresh.close()
    listening.close()
    expect(opened[1]!.close).toHaveBeenCalled()
    vi.unstubAllGlobals()
  })
})
