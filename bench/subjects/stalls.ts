// An event loop that is stuck for 800 ms of every second.
let timer: NodeJS.Timeout | undefined

/** Begins or ends it; undefined leaves it as it is. */
export function stalling(on: boolean | undefined): void {
  if (on === undefined) return
  clearInterval(timer)
  if (!on) return
  timer = setInterval(() => {
    for (const end = performance.now() + 800; performance.now() < end; );
  }, 1_000)
}
