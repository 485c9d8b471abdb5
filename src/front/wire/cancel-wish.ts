/**
 * The cancel request of one client, where the wish and what it is about may come in any order: the
 * wish is heard by another thread, and what the client had sent before may not even have been read
 * by this one.
 *
 * What was sent first is told by its place: every batch begins at some byte of what the client has
 * sent, and the wish says how many bytes had come by then. It is about the first batch from before
 * it that can still be ended, and about that one only, as a signal to a server's process; what came
 * later it must never meet.
 *
 *     make() ---- such a batch waits ----> spent
 *       |  \----- the other thread has ended one that ran: fulfilled() ----> spent
 *       \-------- all from before has been answered ----> over
 *
 * Wishes have numbers, so that each thread knows which of them the other has made use of.
 *
 * Two threads can only tell one batch from another. So as long as a wish may be on its way, what a
 * client has sent ahead is taken up one by one, not as one batch that is older and younger than it.
 * That is slower, for all clients of the thread; so what has come in part is not waited for longer
 * than `cancelPartMs`.
 *
 * It must never end two batches for one wish, nor one that was sent after it.
 */
import type { Clock, Timer } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import { isCountedBefore } from '../../base/serial-number.ts'

export interface Wish {
  /** Of the thread that has heard it: counted up from 1, cut to 32 bits, never 0. */
  readonly number: number
  /** So many bytes had come from the client. */
  readonly beforeByte: number
}

/** Whether a wish is one of those that have ended something. @param spent the last one; 0: none */
export function isSpent(number: number, spent: number): boolean {
  return spent !== 0 && !isCountedBefore(spent, number)
}

export class CancelWish {
  /** Of all that the client has sent: what has been taken up; what is taken next begins there. */
  takenBytes = 0
  /** Whether the other thread has heard a wish, of this client or another. */
  readonly mayCome: () => boolean
  readonly #clock: Pick<Clock, 'setTimer'>
  #patience: Timer | undefined
  #begunByte = 0
  #wish: Wish | undefined
  #settle: (() => void) | undefined
  #spentWish = 0

  constructor(clock: Pick<Clock, 'setTimer'>, mayCome: () => boolean = () => false) {
    this.#clock = clock
    this.mayCome = mayCome
  }

  /** What is taken next is a batch, or the beginning of one. */
  begin(): void {
    this.#begunByte = this.takenBytes
    this.#stopWaiting()
  }

  /** The first bytes of the batch were one of its own, and have been answered. */
  beginBehind(byteLength: number): void {
    this.#begunByte += byteLength
  }

  /** Where the batch that was begun last begins. */
  get begunByte(): number {
    return this.#begunByte
  }

  /** The number of the last wish that has ended something; 0 if none has. */
  get spentWish(): number {
    return this.#spentWish
  }

  /** It settles when there is nothing left that it could be about. An earlier one is given up. */
  make(wish: Wish): Promise<void> {
    this.end()
    if (isSpent(wish.number, this.#spentWish)) return Promise.resolve()
    this.#wish = wish
    return new Promise((resolve) => (this.#settle = resolve))
  }

  /** Whether it is about the batch that was begun last. */
  get isAboutBegun(): boolean {
    return this.#wish !== undefined && this.#begunByte < this.#wish.beforeByte
  }

  /**
   * Nothing is in flight: if nothing from before it is still to be taken up, it is over.
   * @param isCopying what was begun has yet to get its data
   */
  rest(isCopying: boolean): void {
    if (!this.#wish) return
    if (!isCopying && this.takenBytes >= this.#wish.beforeByte) this.end()
    else this.#patience ??= this.#clock.setTimer(LIMITS.cancelPartMs, () => this.end())
  }

  /** It has ended something in this thread. */
  spend(): void {
    if (this.#wish) this.fulfilled(this.#wish.number)
  }

  /** A wish, of which this thread has heard or not, has ended something. */
  fulfilled(number: number): void {
    if (!isSpent(number, this.#spentWish)) this.#spentWish = number
    if (this.#wish && isSpent(this.#wish.number, number)) this.end()
  }

  #stopWaiting(): void {
    this.#patience?.cancel()
    this.#patience = undefined
  }

  end(): void {
    this.#stopWaiting()
    const settle = this.#settle
    this.#wish = undefined
    this.#settle = undefined
    settle?.()
  }
}
