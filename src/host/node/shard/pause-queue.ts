/**
 * When statements that have paused go on: one after the other, each after a turn of the event loop
 * in which whatever had come meanwhile was served.
 */
export class PauseQueue {
  readonly #waiting: (() => void)[] = []

  /** Kept when it is the caller's turn. */
  turn(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    if (this.#waiting.length === 1) this.#arm()
    return promise
  }

  #arm(): void {
    setImmediate(() => {
      this.#waiting.shift()?.()
      if (this.#waiting.length > 0) this.#arm()
    })
  }
}
