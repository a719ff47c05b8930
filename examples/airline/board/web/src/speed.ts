// How fast time passes, as the feed says; a click asks it to change.

const choices: readonly [label: string, speed: number | 'max', title: string][] = [
  ['pause', 0, 'time stands still'],
  ['1×', 1, 'as in 2001'],
  ['1 min/s', 60, 'a minute of 2001 per second'],
  ['1 h/s', 3_600, 'an hour of 2001 per second'],
  ['1 day/s', 86_400, 'a day of 2001 per second'],
  ['max', 'max', 'as fast as this machine goes'],
]

export class SpeedControl {
  readonly #buttons = new Map<number | 'max', HTMLButtonElement>()

  constructor(parent: HTMLElement) {
    for (const [label, speed, title] of choices) {
      const button = document.createElement('button')
      button.type = 'button'
      button.textContent = label
      button.title = title
      button.dataset.speed = String(speed)
      button.addEventListener('click', () => void this.#ask(speed, button))
      this.#buttons.set(speed, button)
      parent.append(button)
    }
  }

  /** Marks what the feed runs at; a speed set elsewhere may be none of the choices. */
  show(speed: number | 'max'): void {
    for (const [choice, button] of this.#buttons) button.setAttribute('aria-pressed', String(choice === speed))
  }

  async #ask(speed: number | 'max', button: HTMLButtonElement): Promise<void> {
    const response = await fetch('/speed', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ speed }),
    }).catch(() => undefined)
    if (response?.ok) this.show(speed)
    else button.title = 'the feed does not answer; try again'
  }
}
