// What may have been meant by a word that nobody knows.

/**
 * The known word at most two letters away.
 * @example nearest('puase', ['pause', 'resume']) // pause
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = 3
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}

/** What to say of a key that there is not. */
export function unknownKey(key: string, known: readonly string[]): string {
  // `{speed:60}` in YAML is one key without a value
  const before = /^(.+?):/.exec(key)?.[1]
  if (before !== undefined && known.includes(before)) {
    return `unknown key "${key}"; write a blank after the colon: "${before}: ${key.slice(before.length + 1)}"`
  }
  const near = nearest(before ?? key, known)
  return `unknown key "${key}"${near ? `; did you mean "${near}"?` : `; known: ${known.join(', ') || 'none'}`}`
}
