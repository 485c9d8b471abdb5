/**
 * What the server holds, in all, of WebSockets whose clients have proven nothing: each may send a
 * large frame, which is held whole, and thousands of them would be more than the machine has. When
 * it is too much, whoever holds most has to go, so that those who hold little never notice.
 */
import { LIMITS } from '../../base/limits.ts'

/** Somebody who holds bytes. `giveUp` lets them go; it may forget itself here. */
export interface Holder {
  giveUp(): void
}

export class UnprovenBytes {
  readonly #counts = new Map<Holder, number>()
  readonly #bytesMax: number
  #total = 0

  constructor(bytesMax: number = LIMITS.webSocketUnprovenTotalBytesMax) {
    this.#bytesMax = bytesMax
  }

  /** From now on `holder` holds so many. */
  set(holder: Holder, bytes: number): void {
    this.#total += bytes - (this.#counts.get(holder) ?? 0)
    this.#counts.set(holder, bytes)
    while (this.#total > this.#bytesMax) {
      const [largest] = [...this.#counts].reduce((most, each) => (each[1] > most[1] ? each : most))
      this.delete(largest)
      largest.giveUp()
    }
  }

  /** Has been let in, or has gone. */
  delete(holder: Holder): void {
    this.#total -= this.#counts.get(holder) ?? 0
    this.#counts.delete(holder)
  }
}
