// Shares of instances: a batch of a rollout, `--percent` of a command.

/** So many percent of some: never more than was said, rounded down, but at least one. */
export function shareOf(count: number, percent: number): number {
  // 7 % of 100 are 7.000000000000001 to a computer, 29 % of 100 are 28.999999999999996
  return Math.max(1, Math.floor(Number(((count * percent) / 100).toPrecision(12))))
}
