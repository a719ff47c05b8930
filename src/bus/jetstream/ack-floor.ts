// How far a durable consumer's messages are acknowledged, as far as one of its readers can know: where a consumer that
// vanished is made again. Deliveries are numbered without a gap over all readers of the consumer, so a run of own
// acknowledgements is a certainty; past another reader's deliveries only the server knows, and is asked now and then.

/** Acknowledgements remembered that do not join the run; beyond it only the server's word counts. */
const mostAhead = 65_536

export class AckFloor {
  /** Every delivery up to this number is done. */
  #delivery = 0
  /** Every message of the stream up to this is done. */
  #sequence = 0
  readonly #ahead = new Map<number, number>()

  /** The sequence up to which all is done. */
  get sequence(): number {
    return this.#sequence
  }

  /** Whether acknowledgements wait for something that another reader has, or that was delivered again. */
  get uncertain(): boolean {
    return this.#ahead.size > 0
  }

  /** Hot path, once per acknowledged message: two comparisons where one reader has all. */
  acked(delivery: number, sequence: number): void {
    if (delivery === this.#delivery + 1) {
      this.#delivery = delivery
      if (sequence > this.#sequence) this.#sequence = sequence
      if (this.#ahead.size > 0) this.#join()
    } else if (delivery > this.#delivery && this.#ahead.size < mostAhead) this.#ahead.set(delivery, sequence)
  }

  /** What the server says. */
  learn(delivery: number, sequence: number): void {
    if (sequence > this.#sequence) this.#sequence = sequence
    if (delivery <= this.#delivery) return
    this.#delivery = delivery
    for (const known of this.#ahead.keys()) if (known <= delivery) this.#ahead.delete(known)
    this.#join()
  }

  #join(): void {
    for (;;) {
      const sequence = this.#ahead.get(this.#delivery + 1)
      if (sequence === undefined) return
      this.#delivery += 1
      this.#ahead.delete(this.#delivery)
      if (sequence > this.#sequence) this.#sequence = sequence
    }
  }
}
