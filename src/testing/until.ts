// Waiting for something that happens soon, without knowing when.
import { failure } from '../bus/internal.ts'
import { type Duration, durationMs } from '../contract/internal.ts'

const everyMs = 10

/**
 * Asks again and again until a condition holds, and resolves with what it gave. What the condition throws is passed on at
 * once.
 *
 * @throws MyelinError DEADLINE_EXCEEDED, with the condition's text, after `within` (default 10 s)
 *
 * @example
 * await until(() => letters.length === 3)
 * const row = await until(() => rows.get('ATL'), '2s')
 */
export async function until<Result>(
  condition: () => Result | Promise<Result>,
  within: Duration = 10_000,
): Promise<Result> {
  const withinMs = durationMs(within, 'until: within')
  for (const end = performance.now() + withinMs; ; ) {
    const result = await condition()
    if (result) return result
    if (performance.now() >= end) break
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
  throw failure('DEADLINE_EXCEEDED', `did not happen within ${withinMs} ms: ${condition}`)
}
