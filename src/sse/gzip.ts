// Compression once for all clients. A deflate stream may be cut at byte boundaries into segments; a segment that refers
// to nothing before it can follow anything, and one that refers to the last kilobytes can follow whatever ended with
// them. So each batch is compressed once, everybody gets the same bytes, and no client costs a compressor's memory
// (some 250 kB each). Source: RFC 1951, RFC 1952; zlib's Z_SYNC_FLUSH.
import { constants, deflateRawSync } from 'node:zlib'

/** What every gzip body begins with: deflate, no name, no time. The trailer never comes: streams of events have no end. */
export const gzipHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])

const historyBytes = 8 * 1024
// a window as large as the history, and less memory to clear for each batch than zlib's own defaults
const options = { finishFlush: constants.Z_SYNC_FLUSH, windowBits: 13, memLevel: 7, level: 6 }

/** A segment that can follow anything. */
export function gzipSegment(bytes: Buffer): Buffer {
  return deflateRawSync(bytes, options)
}

/** Segments that follow each other, for clients that get all of them. */
export class GzipChain {
  #history = Buffer.alloc(0)

  /** The next segment refers to nothing before: somebody joins who has not seen it. */
  restart(): void {
    this.#history = Buffer.alloc(0)
  }

  next(bytes: Buffer): Buffer {
    const dictionary = this.#history
    this.#history = Buffer.concat([dictionary, bytes]).subarray(-historyBytes)
    return deflateRawSync(bytes, dictionary.length > 0 ? { ...options, dictionary } : options)
  }
}
