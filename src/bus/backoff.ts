// Waits between tries.

/**
 * Gives one wait after the other, in ms: each twice the one before, up to a limit. A tenth of each is left to chance, so
 * that many who were cut off together do not come back together.
 * @example
 * const nextMs = backoff(50, 1_000)
 * for (;;) {
 *   if (await tried()) return
 *   await sleep(nextMs())
 * }
 */
export function backoff(firstMs: number, mostMs: number): () => number {
  let ms = firstMs / 2
  return () => {
    ms = Math.min(2 * ms, mostMs)
    return ms * (0.95 + Math.random() / 10)
  }
}
