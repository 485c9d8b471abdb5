/**
 * A shard's `Link` to a client whose socket the main thread keeps, over the rings.
 *
 * A client that does not read must not fill the ring for others, nor the main thread's memory: at
 * most a window of its bytes is on the way, the rest waits here, where `bufferedBytes` shows it to
 * the front. Main gives credit back as the client's socket takes bytes.
 *
 * After `end` the client has `lingerMs` to take something of what waits here, again and again while
 * it does; when all of it is with main, main watches the socket in the same way. What is seen from
 * here is credit, so a client that takes less than a window in `lingerMs` counts as one that takes
 * nothing.
 *
 * `linkClosed` always comes from main's word that the socket is closed, whoever closed it.
 */
import type { Clock, Timer } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Link, LinkReceiver } from '../../../front/wire/link.ts'
import { RECORD } from './protocol.ts'
import type { RingChannel } from './ring-channel.ts'

export interface RingLinkOptions {
  readonly connection: number
  readonly channel: RingChannel
  readonly clock: Clock
  /** Default `LIMITS.lingerMs`. */
  readonly lingerMs?: number | undefined
}

export class RingLink implements Link {
  readonly #connection: number
  readonly #channel: RingChannel
  readonly #clock: Clock
  readonly #lingerMs: number
  #lingerTimer: Timer | undefined
  #receiver: LinkReceiver | undefined
  #state: 'open' | 'ending' | 'over' = 'open'
  #creditBytes: number = LIMITS.ringWindowBytes
  /** Writes that wait for credit, oldest first. */
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #isPaused = false
  /** The front has not been told. */
  #clientHasEnded = false

  constructor(options: RingLinkOptions) {
    this.#connection = options.connection
    this.#channel = options.channel
    this.#clock = options.clock
    this.#lingerMs = options.lingerMs ?? LIMITS.lingerMs
  }

  /** Begins to tell `receiver` what happens. Main reads from our first word on. */
  start(receiver: LinkReceiver): void {
    this.#receiver = receiver
    if (this.#state !== 'open') return
    this.#channel.send(this.#connection, this.#isPaused ? RECORD.pause : RECORD.resume)
  }

  /** Bytes not yet on their way; up to a window more may be with main. */
  get bufferedBytes(): number {
    return this.#queuedBytes
  }

  write(bytes: Uint8Array): void {
    if (this.#state !== 'open' || bytes.length === 0) return
    let at = 0
    if (this.#queue.length === 0) at = this.#sendWithinCredit(bytes)
    if (at === bytes.length) return
    this.#queue.push(Uint8Array.from(bytes.subarray(at)))
    this.#queuedBytes += bytes.length - at
  }

  end(lastBytes?: Uint8Array): void {
    if (this.#state !== 'open') return
    if (lastBytes) this.write(lastBytes)
    this.#state = 'ending'
    if (this.#queue.length === 0) this.#sendEnd()
    else this.#linger(Number.POSITIVE_INFINITY)
  }

  destroy(): void {
    if (this.#state === 'over') return
    this.#giveUp()
    this.#channel.send(this.#connection, RECORD.destroy)
  }

  pauseReading(): void {
    if (this.#isPaused || this.#state !== 'open') return
    this.#isPaused = true
    this.#channel.send(this.#connection, RECORD.pause)
  }

  resumeReading(): void {
    if (!this.#isPaused || this.#state !== 'open') return
    this.#isPaused = false
    this.#channel.send(this.#connection, RECORD.resume)
    this.#tellEnd()
  }

  /** One record of this connection from main. */
  visit(kind: number, bytes: Uint8Array): void {
    if (kind === RECORD.closed) this.closed()
    else if (kind === RECORD.credit) this.#credit(bytes)
    else if (this.#state === 'open') this.#incoming(kind, bytes)
  }

  /** The connection is over, or main is. */
  closed(): void {
    this.#giveUp()
    this.#receiver?.linkClosed()
  }

  /**
   * Bytes that were on their way when the front paused are given on all the same: it keeps them,
   * and has them on its account.
   */
  #incoming(kind: number, bytes: Uint8Array): void {
    if (kind !== RECORD.end) return this.#receiver?.receive(bytes)
    this.#clientHasEnded = true
    this.#tellEnd()
  }

  #tellEnd(): void {
    if (this.#state !== 'open' || this.#isPaused || !this.#clientHasEnded) return
    this.#clientHasEnded = false
    if (this.#receiver?.linkEnded) this.#receiver.linkEnded()
    else this.end()
  }

  #credit(bytes: Uint8Array): void {
    if (this.#state === 'over') return
    this.#creditBytes += new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
    if (this.#queue.length === 0) return
    for (let first = this.#queue[0]; first; first = this.#queue[0]) {
      const sent = this.#sendWithinCredit(first)
      this.#queuedBytes -= sent
      if (sent < first.length) {
        this.#queue[0] = first.subarray(sent)
        return
      }
      this.#queue.shift()
    }
    if (this.#state === 'ending') this.#sendEnd()
    else this.#receiver?.linkDrained()
  }

  #sendEnd(): void {
    this.#lingerTimer?.cancel()
    this.#channel.send(this.#connection, RECORD.end)
  }

  #linger(queuedBefore: number): void {
    const queued = this.#queuedBytes
    if (queued >= queuedBefore) this.destroy()
    else this.#lingerTimer = this.#clock.setTimer(this.#lingerMs, () => this.#linger(queued))
  }

  #sendWithinCredit(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.#creditBytes)
    this.#creditBytes -= count
    this.#channel.sendData(this.#connection, bytes.subarray(0, count), count < bytes.length)
    return count
  }

  #giveUp(): void {
    this.#state = 'over'
    this.#lingerTimer?.cancel()
    this.#queue = []
    this.#queuedBytes = 0
  }
}
