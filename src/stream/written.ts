// Up to where a partition's input is processed with its rows stored. Nothing is kept per message: whoever looks leaves a
// note of how far input and outputs are at that moment, and the next look says which notes have come true.

interface Output {
  readonly position: { readonly sequence: number }
  readonly acknowledged: number
}

interface Note {
  readonly input: number
  readonly rows: readonly number[]
}

const mostNotes = 16

export class Written {
  readonly #notes: Note[] = []
  #input = 0

  /** @param processed input that is processed by now */
  look(processed: number, outputs: readonly Output[]): number {
    const stored = ({ rows }: Note) => outputs.every(({ acknowledged }, i) => acknowledged >= rows[i]!)
    const present = { input: processed, rows: outputs.map(({ position }) => position.sequence) }
    if (stored(present)) {
      this.#notes.length = 0
      this.#input = processed
      return processed
    }
    while (this.#notes[0] && stored(this.#notes[0])) this.#input = this.#notes.shift()!.input
    if (this.#notes.length < mostNotes && this.#notes.at(-1)?.input !== processed) this.#notes.push(present)
    return this.#input
  }
}
