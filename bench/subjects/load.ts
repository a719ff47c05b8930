// Keeps so many calls in flight for so long and tells how many came back per second.

export type Call = () => Promise<unknown>

export interface Load {
  readonly inFlight: number
  readonly seconds: number
}

export function loadOf(call: Call): (load: Load) => Promise<number> {
  return async ({ inFlight, seconds }) => {
    const started = performance.now()
    const end = started + seconds * 1_000
    let done = 0
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (performance.now() < end) {
          await call()
          done += 1
        }
      }),
    )
    return (done * 1_000) / (performance.now() - started)
  }
}
