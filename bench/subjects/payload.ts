// What every subject of a call benchmark sends: 128 bytes of JSON.
export const request = { id: 123456, name: 'x'.repeat(54), flags: [true, false, true], at: 1_234_567_890_123, n: 1 }

const size = Buffer.byteLength(JSON.stringify(request))
if (size !== 128) throw new Error(`the request has ${size} bytes instead of 128`)
