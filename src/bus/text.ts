// Texts of others (error messages, keys, reasons) go into messages that have to fit; this cuts them safely.

const encoder = new TextEncoder()
const mark = '…'
const markBytes = 3

/**
 * A text of at most `maxBytes` bytes of UTF-8: the whole text where it fits, else its beginning and `…`. Never cuts
 * through a character. In JSON a text can be up to six times as long as in UTF-8 (control characters).
 */
export function boundedText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text
  const marked = maxBytes >= markBytes
  const room = new Uint8Array(Math.max(0, marked ? maxBytes - markBytes : maxBytes))
  const { read } = encoder.encodeInto(text, room)
  return text.slice(0, read) + (marked ? mark : '')
}
