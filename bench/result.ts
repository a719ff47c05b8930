// What a benchmark ends with: figures, ratios, and how they are shown.

export interface Result {
  readonly bench: string
  readonly figures: Readonly<Record<string, number>>
  readonly ratios: Readonly<Record<string, number>>
}

export interface Options {
  readonly rounds: number
  readonly seconds: number
  /** Progress for people; silent with --json. */
  readonly say: (line: string) => void
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const ratio = (a: number, b: number): number => Math.round((a / b) * 1_000) / 1_000

/** Runs all subjects in turn, round after round, so that whatever the machine does meanwhile meets all of them. */
export async function alternate<Subject extends string>(
  subjects: readonly Subject[],
  rounds: number,
  run: (subject: Subject, round: number) => Promise<number>,
): Promise<Record<Subject, number>> {
  const measured = Object.fromEntries(subjects.map((subject) => [subject, [] as number[]])) as Record<Subject, number[]>
  for (let round = 0; round <= rounds; round++) {
    for (const subject of subjects) {
      const value = await run(subject, round)
      if (round > 0) measured[subject].push(value) // the first one warms up
    }
  }
  return Object.fromEntries(subjects.map((subject) => [subject, Math.round(median(measured[subject]))])) as Record<
    Subject,
    number
  >
}

export function show({ bench, figures, ratios }: Result): string {
  const width = Math.max(...[...Object.keys(figures), ...Object.keys(ratios)].map((name) => name.length))
  const line = ([name, value]: [string, number]) =>
    `  ${name.padEnd(width)}  ${value.toLocaleString('en').padStart(12)}`
  return [`\n${bench}`, ...Object.entries(figures).map(line), '', ...Object.entries(ratios).map(line)].join('\n')
}
