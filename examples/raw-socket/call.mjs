// Calls a Myelin endpoint with nothing but a TCP socket: no NATS library, no Myelin. What it shows is that the wire is
// open: a request is one PUB of JSON with a reply subject, the reply one MSG of JSON, and an error one HMSG with the two
// headers of the NATS service API (and the same as JSON in its body). Any language with sockets can do it.
//
//   node examples/raw-socket/call.mjs nats://127.0.0.1:4222 svc.airports.get '{"iata":"ATL"}'
//
// Prints the reply and ends with 0; prints an error's headers and body on stderr and ends with 1.
import { connect } from 'node:net'

const [address, subject, payload = '{}'] = process.argv.slice(2)
if (!address || !subject) {
  console.error('usage: node call.mjs nats://host:port subject [json]')
  process.exit(2)
}
const { hostname, port } = new URL(address)
const inbox = `_INBOX.${crypto.randomUUID()}`
const socket = connect(Number(port || 4222), hostname)

const fail = (/** @type {string} */ text) => {
  console.error(text)
  process.exitCode = 1
  socket.destroy()
}
socket.setTimeout(5_000, () => fail('no reply within 5 s'))
socket.on('error', (error) => fail(error.message))

// The server speaks first (INFO). Sizes in the protocol are bytes, not characters.
socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true,"lang":"raw"}\r\n')
socket.write(`SUB ${inbox} 1\r\nUNSUB 1 1\r\n`) // one reply, then the subscription is gone
socket.write(`PUB ${subject} ${inbox} ${Buffer.byteLength(payload)}\r\n${payload}\r\n`)

let received = Buffer.alloc(0)
socket.on('data', (chunk) => {
  received = Buffer.concat([received, chunk])
  for (;;) {
    const end = received.indexOf('\r\n')
    if (end < 0) return
    const [verb = '', ...words] = received.toString('utf8', 0, end).split(' ')
    if (verb === 'MSG' || verb === 'HMSG') {
      // MSG <subject> <sid> <bytes>      HMSG <subject> <sid> <header bytes> <all bytes>
      const size = Number(words.at(-1))
      const headerSize = verb === 'HMSG' ? Number(words.at(-2)) : 0
      if (received.length < end + 2 + size + 2) return // the rest is on its way
      const message = received.subarray(end + 2, end + 2 + size)
      finish(message.toString('utf8', 0, headerSize), message.toString('utf8', headerSize))
      return
    }
    received = received.subarray(end + 2)
    if (verb === 'PING') socket.write('PONG\r\n')
    if (verb === '-ERR') return fail(words.join(' '))
  }
})

/** @param {string} headers  @param {string} body */
function finish(headers, body) {
  // a message of the server itself has a status on its first line: 503 says that nobody listens there
  if (/^NATS\/1\.0 503/.test(headers)) return fail(`nobody answers on ${subject}`)
  if (/^Nats-Service-Error-Code:/im.test(headers)) return fail(`${headers.trim()}\n\n${body}`)
  console.log(body)
  socket.end()
}
