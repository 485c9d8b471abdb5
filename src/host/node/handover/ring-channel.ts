/**
 * One thread's ends of two rings: what it sends, and what it is sent. Sending never blocks and
 * never fails: what the ring has no room for waits here in order, and goes when the other side has
 * taken something. How much may wait is the business of the callers: each bounds its own share
 * (windows, paused sockets), and `isCongested` tells them.
 *
 * Neither side ever waits on the other's event loop: both only ask to be woken.
 */
import { LIMITS } from '../../../base/limits.ts'
import type { ByteRing, RecordVisitor } from './byte-ring.ts'
import { NO_BYTES, RECORD } from './protocol.ts'

interface WaitingRecord {
  readonly connection: number
  readonly kind: number
  readonly bytes: Uint8Array
}

export interface RingChannelOptions {
  readonly outgoing: ByteRing
  readonly incoming: ByteRing
  /** Sees each record that comes in. Must not throw. */
  readonly visit: RecordVisitor
  /** All that had to wait has been sent. */
  readonly onRoom?: () => void
}

export class RingChannel {
  readonly #outgoing: ByteRing
  readonly #incoming: ByteRing
  readonly #visit: RecordVisitor
  readonly #onRoom: (() => void) | undefined
  #waiting: WaitingRecord[] = []
  #isStopped = false

  constructor(options: RingChannelOptions) {
    this.#outgoing = options.outgoing
    this.#incoming = options.incoming
    this.#visit = options.visit
    this.#onRoom = options.onRoom
    this.#listen()
  }

  /** Records wait because the ring is full. */
  get isCongested(): boolean {
    return this.#waiting.length > 0
  }

  /** The other side has not taken all that it was sent. */
  get isAwaited(): boolean {
    return this.isCongested || !this.#outgoing.isEmpty
  }

  /** Longest payload of one record. */
  get recordBytesMax(): number {
    return this.#outgoing.recordBytesMax
  }

  /** Sends one record of at most `recordBytesMax`. `bytes` have been copied when it returns. */
  send(connection: number, kind: number, bytes: Uint8Array = NO_BYTES): void {
    if (this.#isStopped) return
    if (!this.isCongested && this.#outgoing.push(connection, kind, bytes)) return
    this.#waiting.push({ connection, kind, bytes: Uint8Array.from(bytes) })
    if (this.#waiting.length === 1) this.#flush()
  }

  /** Sends the bytes of one write, or with `more` a part of one, split into records. */
  sendData(connection: number, bytes: Uint8Array, more: boolean): void {
    const step = this.recordBytesMax
    for (let at = 0; at < bytes.length; at += step) {
      const isLast = at + step >= bytes.length && !more
      this.send(connection, isLast ? RECORD.data : RECORD.part, bytes.subarray(at, at + step))
    }
  }

  /** Visits all that has come in so far, in this call: for the last words of a dead thread. */
  drainNow(): void {
    this.#incoming.drain(this.#visit, Number.POSITIVE_INFINITY)
  }

  /** Sends and visits nothing any more. */
  stop(): void {
    this.#isStopped = true
    this.#waiting = []
    this.#incoming.wakeAll()
    this.#outgoing.wakeAll()
  }

  #flush(): void {
    while (!this.#isStopped) {
      const { head } = this.#outgoing
      let sent = 0
      for (const { connection, kind, bytes } of this.#waiting) {
        if (!this.#outgoing.push(connection, kind, bytes)) break
        sent++
      }
      this.#waiting.splice(0, sent)
      if (this.#waiting.length === 0) {
        this.#onRoom?.()
        return
      }
      const change = this.#outgoing.whenDrained(head)
      if (change) {
        void change.then(() => this.#flush())
        return
      }
    }
  }

  #listen(): void {
    if (this.#isStopped) return
    // A budget per turn, so that a ring that never runs empty does not starve sockets and timers.
    this.#incoming.drain(this.#visit, LIMITS.ringBytes)
    if (this.#isStopped) return
    const change = this.#incoming.whenFilled()
    if (change) void change.then(() => this.#listen())
    else setImmediate(() => this.#listen())
  }
}
