// Error codes as numbers: ADR-32 wants `Nats-Service-Error-Code` to be safe to parse as one. They are those of HTTP, which
// people know; programs that know Myelin read the text code in `Myelin-Error-Code`.
const statuses: Readonly<Record<string, number>> = {
  INVALID_INPUT: 400,
  MALFORMED_PAYLOAD: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  PERMISSION_DENIED: 403,
  CLAIM_NOT_FOUND: 404,
  UNKNOWN_ENDPOINT: 404,
  PAYLOAD_TOO_LARGE: 413,
  CANCELLED: 499,
  INTERNAL: 500,
  OVERLOADED: 503,
  DEADLINE_EXCEEDED: 504,
}

/** The status of errors that the contract itself declares. */
const declared = 422

export function statusOf(code: string): number {
  return Object.hasOwn(statuses, code) ? statuses[code]! : declared
}

/**
 * The code of a reply that has none of ours: another program's number becomes the nearest code, and a text, which
 * Myelin 0.1 sent there, stays what it is.
 */
export function codeOfStatus(status: string): string {
  const number = Number(status)
  if (status.trim() === '' || Number.isNaN(number)) return status.trim() === '' ? 'INTERNAL' : status
  if (number === 429 || number === 503) return 'OVERLOADED'
  if (number === 408 || number === 504) return 'DEADLINE_EXCEEDED'
  if (number === declared) return 'INVALID_INPUT'
  return Object.keys(statuses).find((code) => statuses[code] === number) ?? 'INTERNAL'
}
