/** Carries effects out in order; those that come up on the way are appended, not nested. */
export class EffectQueue<Effect> {
  readonly #perform: (effect: Effect) => void
  readonly #effects: Effect[] = []
  #running = false

  constructor(perform: (effect: Effect) => void) {
    this.#perform = perform
  }

  run(effects: readonly Effect[]): void {
    this.#effects.push(...effects)
    if (this.#running) return
    this.#running = true
    try {
      for (let effect = this.#effects.shift(); effect; effect = this.#effects.shift()) {
        this.#perform(effect)
      }
    } finally {
      this.#running = false
    }
  }

  /** The same in a microtask: after the caller has done with what it holds. */
  runLater(effects: readonly Effect[]): void {
    this.#effects.push(...effects)
    queueMicrotask(() => this.run([]))
  }
}
