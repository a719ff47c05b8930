// The way to one browser, over HTTP/1.1 or HTTP/2, as a stream of bytes.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Writable } from 'node:stream'
import { gzipHeader } from './gzip.ts'

const keepAliveMs = 30_000

/** What the head of an event stream says. */
export const streamHeaders = (gzip: boolean) => ({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
  ...(gzip ? { 'content-encoding': 'gzip' } : {}),
})

/**
 * Answers with the head of an event stream and hands over what its events are written to.
 *
 * Hot path: over HTTP/1.1 the body goes straight to the socket and ends with the connection (RFC 9112, 6.3), so that
 * bytes are the same for all clients. Chunked encoding would cost two more small writes and their objects per client
 * and batch.
 */
export function openStream(
  response: ServerResponse | Http2ServerResponse,
  headers: OutgoingHttpHeaders,
  gzip: boolean,
): Writable {
  const head: OutgoingHttpHeaders = { ...headers, ...streamHeaders(gzip) }
  const sink = 'stream' in response ? overHttp2(response, head) : overHttp1(response, head)
  if (gzip) sink.write(gzipHeader)
  return sink
}

function overHttp2(response: Http2ServerResponse, head: OutgoingHttpHeaders): Writable {
  response.writeHead(200, head)
  return response.stream
}

function overHttp1(response: ServerResponse, head: OutgoingHttpHeaders): Writable {
  response.removeHeader('transfer-encoding')
  response.shouldKeepAlive = false
  response.writeHead(200, head)
  response.flushHeaders()
  const socket = response.socket!
  socket.setTimeout(0)
  socket.setKeepAlive(true, keepAliveMs) // finds peers that vanished
  return socket
}
