/**
 * What one client makes its server hold, and what is done about it: answers that it does not read
 * stop what it asks for, and what it sends ahead of that is not read.
 *
 * All of it is on the account of the thread (`HeldBytes`) once it is more than a little, until the
 * link is closed: a client that is sent away and does not read holds its answers still.
 */
import { type HeldBytes, type Holder } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { Link } from './link.ts'

export interface FlowOptions {
  readonly link: Link
  readonly log: Log
  /** Default: nobody counts. */
  readonly held?: HeldBytes | undefined
  /** Whose client it is: all that one tenant's clients hold counts as one. */
  readonly tenant?: string | undefined
  /** It holds most of what is too much, and has to end. */
  readonly onGivenUp: () => void
}

export class Flow implements Holder {
  readonly #options: FlowOptions
  readonly #link: Link
  #isClogged = false
  #isPaused = false
  #isOver = false
  /** Of what the client has sent, as last told; and of what it will be told. */
  #keptBytes = 0
  #owedBytes = 0
  #isCounted = false

  constructor(options: FlowOptions) {
    this.#options = options
    this.#link = options.link
  }

  /** Answers wait to be read by the client: nothing more is to be done for it. */
  get isClogged(): boolean {
    return this.#isClogged
  }

  /** @returns false, and sends nothing, if it would be too much that is unread */
  send(bytes: Uint8Array): boolean {
    const link = this.#link
    if (link.bufferedBytes + bytes.length > LIMITS.answerBytesMax) return false
    link.write(bytes)
    if (link.bufferedBytes > LIMITS.answerPauseBytes) this.#isClogged = true
    // Also what nobody asked for: notifications come to whoever has said nothing for long.
    if (link.bufferedBytes > LIMITS.heldUncountedBytes) this.#count()
    return true
  }

  /** The client has read its answers. @returns whether anything waited for it */
  drained(): boolean {
    const wasClogged = this.#isClogged
    this.#isClogged = false
    this.#count()
    return wasClogged
  }

  /**
   * Nothing more can be done now.
   * @param unreadBytes that have come, and of which nothing is begun
   * @param keptBytes of all that the client has sent: these, what is being done, or collected
   * @param isBusy with what it has sent before
   */
  rest(unreadBytes: number, keptBytes: number, isBusy: boolean): void {
    this.#pause(this.#isClogged || (isBusy && unreadBytes > LIMITS.pipelineBytesMax))
    this.#keptBytes = keptBytes
    this.#count()
  }

  /** So much is kept to be sent later. */
  keep(bytes: number): void {
    this.#owedBytes = bytes
    this.#count()
  }

  /** The session has ended; its client may still have answers to read. */
  end(): void {
    this.#isOver = true
    this.#keptBytes = 0
    this.#owedBytes = 0
    this.#count()
  }

  /** The link is closed, and holds nothing any more. */
  closed(): void {
    this.#options.held?.delete(this)
  }

  giveUp(): void {
    this.#isCounted = false
    const { log, tenant } = this.#options
    log.warn('a client made us hold too much', { tenant })
    // Its last words would wait behind all that it has not read, or have been said.
    const isUnread = this.#link.bufferedBytes > LIMITS.answerPauseBytes
    if (isUnread || this.#isOver) this.#link.destroy()
    this.#options.onGivenUp()
  }

  #pause(pause: boolean): void {
    if (pause === this.#isPaused) return
    this.#isPaused = pause
    if (pause) this.#link.pauseReading()
    else this.#link.resumeReading()
  }

  #count(): void {
    const { held, tenant } = this.#options
    const bytes = this.#keptBytes + this.#owedBytes + this.#link.bufferedBytes
    if (bytes > LIMITS.heldUncountedBytes) {
      this.#isCounted = true
      held?.set(this, bytes, tenant)
    } else if (this.#isCounted) {
      this.#isCounted = false
      held?.delete(this)
    }
  }
}
