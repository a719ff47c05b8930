// A client of our own for event streams, so that a test sees every byte.
import { request } from 'node:http'

export interface Received {
  id: string | undefined
  event: string
  data: string
}

/** Opens an event stream and notes what comes; without gzip, so that the text is what was sent. */
export function listen(url: string, headers: Record<string, string> = {}) {
  const events: Received[] = []
  const state = { status: 0, ended: false, text: '', headers: {} as Record<string, unknown> }
  const outgoing = request(url, { headers }, (response) => {
    state.status = response.statusCode ?? 0
    state.headers = response.headers
    response.setEncoding('utf8')
    let buffer = ''
    response.on('data', (chunk: string) => {
      state.text += chunk
      buffer += chunk
      const parts = buffer.split('\n\n')
      buffer = parts.pop() ?? ''
      for (const part of parts) {
        const fields = new Map(
          part.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
        )
        if (fields.has('data')) {
          events.push({ id: fields.get('id'), event: fields.get('event') ?? '', data: fields.get('data') ?? '' })
        }
      }
    })
    response.on('close', () => {
      state.ended = true
    })
  })
  outgoing.on('error', () => {
    state.ended = true
  })
  outgoing.end()
  return { events, state, close: () => outgoing.destroy() }
}
