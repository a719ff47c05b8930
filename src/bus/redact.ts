// What must not be shown: secrets in configurations, logs, records and messages, found by the names of their keys and by
// what they look like. A reference to a secret (`{ secret: 'env:NAME' }`) is not one, and is shown.

/** What stands where a secret was. */
export const redacted = '[secret]'

/** Words that make a key's value a secret, wherever they stand in its name. */
const secretWords =
  /^(?:tokens?|passwords?|passwd|passphrases?|pwd|secrets?|seeds?|creds|credentials?|authorization|cookies?|jwts?|bearer|pin|nkeys?)$/
/** Words that make a following `key` a secret one; `key` alone names what data are kept under. */
const secretKeys =
  /^(?:api|access|private|secret|signing|encryption|master|auth|client|shared|service|account|n|ssh|tls)$/
const joined = /(?:(?:api|access|private|secret|signing|encryption)key|password|passwd|passphrase|secret|token)s?$/

/** Whether a key's name says that its value is a secret. */
function namesSecret(key: string): boolean {
  const words = key
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
  return words.some(
    (word, i) =>
      secretWords.test(word) || joined.test(word) || (/^keys?$/.test(word) && secretKeys.test(words[i - 1] ?? '')),
  )
}

/** `scheme://user:password@`, also where the password has an @; a user alone may be a token. */
const userInfo = /\b([a-z][a-z0-9+.-]{0,30}:\/\/)(?!…@)[^\s/?#"'<>]*@/gi
/** `?token=…`, `password=…` in addresses and connection strings. */
const pairs =
  /\b((?:[a-z]+[_-])?(?:tokens?|passwords?|passwd|pwd|secret|api_?key|access_?key|sig|signature)=)[^\s&;,"'<>]+/gi
/** The same in JSON. Texts of others come here: what stands before the word is bounded, so that looking takes no longer. */
const quoted =
  /("[a-z_-]{0,64}(?:tokens?|passwords?|passwd|pwd|secret|api_?key|access_?key)"\s*:\s*)"(?!(?:env|file):)(?:[^"\\]|\\.)*"/gi
/** Keys in PEM, seeds of nkeys, JSON web tokens. */
const shapes =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)|\bS[ACNOUX][A-Z2-7]{56}\b|\beyJ[\w-]{8,4000}\.[\w-]+\.[\w-]*/g

/** What references to secrets were resolved to in this process, in all the forms in which a text may hold them. */
const known = new Set<string>()
/** Shorter ones would be found in every other word. */
const shortest = 4

/** Hides a secret from now on, wherever {@link redactText} and {@link redact} are used. */
export function hideSecret(value: string): void {
  for (const form of [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)]) {
    if (form.length >= shortest) known.add(form)
  }
}

/** A text without the secrets that are known or can be told by their looks: passwords in addresses, keys, tokens. */
export function redactText(text: string): string {
  // most texts hold none: these are cheap to look for
  let clean = text
  for (const secret of known) if (clean.includes(secret)) clean = clean.replaceAll(secret, redacted)
  if (clean.includes('://')) clean = clean.replace(userInfo, `$1${redacted}@`)
  if (clean.includes('=')) clean = clean.replace(pairs, `$1${redacted}`)
  if (clean.includes('":')) clean = clean.replace(quoted, `$1"${redacted}"`)
  if (clean.length > 20) clean = clean.replace(shapes, redacted)
  return clean
}

const deepest = 50

/**
 * A copy of a value without its secrets, at any depth: what lies under a key that names a secret (`tokens: [...]`,
 * `password: { value }`), and in any text what {@link redactText} finds. Only plain objects and arrays are looked into.
 */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth > deepest) return '[too deep]'
  if (Array.isArray(value)) return value.map((one) => redact(one, depth + 1))
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  if (isReference(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, namesSecret(key) ? hidden(key, one) : redact(one, depth + 1)]),
  )
}

/** A number under `token` is a count or a fence, and nothing is no secret. */
function hidden(key: string, value: unknown): unknown {
  if (value === undefined || value === null || typeof value === 'boolean' || value === '') return value
  if ((typeof value === 'number' && /tokens?$/i.test(key)) || isReference(value)) return value
  return redacted
}

/** `{ secret: 'env:NAME' }`, `{ secret: 'file:PATH' }`: where a secret is, not what it is. */
export function isReference(value: unknown): value is { readonly secret: string } {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return false
  const { secret } = value as { secret?: unknown }
  return typeof secret === 'string' && /^(?:env|file):/.test(secret)
}
