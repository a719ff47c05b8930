// The browser's side, in a few lines: native EventSource, which comes back by itself after a lost connection, and what it
// does not do: it comes back after an HTTP error too (a proxy's 502, a gateway's 503), and goes where a gateway that is
// stopped sends it. No imports of Node's, so that any bundler takes it.

declare const EventSource: new (url: string, options: { withCredentials: boolean }) => Source
declare const location: { readonly href: string }

interface ServerEvent {
  readonly data: string
  readonly lastEventId: string
}
interface Source {
  readonly readyState: number
  onopen: (() => void) | null
  onerror: (() => void) | null
  addEventListener(name: string, listener: (event: ServerEvent) => void): void
  close(): void
}

/** The rows of a view (`typeof delays`), of what a gateway offers (`ReturnType<typeof fromTable<Gate>>`), or the type itself. */
export type RowOf<Offer> = Offer extends { readonly row?: infer Row } ? NonNullable<Row> : Offer

export interface Gap {
  /** The last event that was seen (null: the id was not one of this stream), and the first one there is now. */
  readonly after: number | null
  readonly firstAvailable: number
}

export interface Handlers<Row> {
  /** `id` is the position in the stream; 0 for events that are not kept. */
  row(row: Row, id: number): void
  /** What came between is gone: read anew what depends on every event. */
  gap?(gap: Gap): void
  state?(state: 'live' | 'waiting'): void
}

export interface ListenOptions {
  /** Send cookies to another origin. */
  readonly withCredentials?: boolean
  /** Between tries after an HTTP error; it grows to ten times that. Default 1,000 ms. */
  readonly retryMs?: number
}

export interface Listening {
  /** The last event seen, or where listening began; '' before that is known. */
  readonly lastEventId: string
  close(): void
}

const closed = 2

/**
 * Listens to a stream of a gateway: each event once and in order, also after a lost connection.
 *
 * @example
 * // `delays` is a view, imported as a type
 * listen<typeof delays>('/streams/delays', { row: ({ origin, mean }) => show(origin, mean) })
 */
export function listen<Offer>(url: string, handlers: Handlers<RowOf<Offer>>, options: ListenOptions = {}): Listening {
  const home = new URL(url, location.href)
  const name = decodeURIComponent(home.pathname.slice(home.pathname.lastIndexOf('/') + 1))
  const { withCredentials = false, retryMs = 1_000 } = options
  let lastEventId = ''
  let tries = 0
  let source: Source | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  const open = (at: URL) => {
    source?.close()
    if (lastEventId !== '') at.searchParams.set('lastEventId', lastEventId)
    let failures = 1 // in a row
    const current = new EventSource(at.href, { withCredentials })
    source = current
    current.onopen = () => {
      failures = 0
      tries = 0
      handlers.state?.('live')
    }
    current.onerror = () => {
      handlers.state?.('waiting')
      failures += 1
      const lostThere = failures > 1 && at.origin !== home.origin // where it was sent nobody answers
      if (current.readyState !== closed && !lostThere) return
      current.close()
      tries += 1
      timer = setTimeout(() => open(new URL(home)), retryMs * Math.min(10, tries) * (0.5 + Math.random()))
    }
    current.addEventListener(name, (event) => {
      lastEventId = event.lastEventId
      handlers.row(JSON.parse(event.data) as RowOf<Offer>, Number(lastEventId))
    })
    // where it begins: a connection that is lost before the first event is resumed there
    current.addEventListener('position', (event) => {
      lastEventId = event.lastEventId
    })
    current.addEventListener('gap', (event) => handlers.gap?.(JSON.parse(event.data) as Gap))
    current.addEventListener('move', (event) => {
      const { url: there } = JSON.parse(event.data) as { url: string }
      handlers.state?.('waiting')
      open(new URL(home.pathname + home.search, there))
    })
  }
  open(new URL(home))
  return {
    get lastEventId() {
      return lastEventId
    },
    close: () => {
      clearTimeout(timer)
      source?.close()
    },
  }
}
