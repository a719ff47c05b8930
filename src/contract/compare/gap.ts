// What the comparison of two schemas finds.

/** Values of one schema that another does not allow. */
export interface Gap {
  /** Names of properties; `[]` for the items of a list, `*` for properties without a name of their own. */
  readonly path: readonly string[]
  /** What it means when the values were allowed before: `is required now`. */
  readonly narrowed: string
  /** What it means when the values are allowed from now on: `may be missing now`. */
  readonly widened: string
  /** The other schema says nothing of them, and lets them pass. */
  readonly harmless?: true
}

export const gap = (narrowed: string, widened: string, path: readonly string[] = []): Gap => ({
  path,
  narrowed,
  widened,
})

/** Whether it is more than something the other schema does not name. */
export const real = (gap: Gap) => gap.harmless !== true
