/**
 * The main thread's side of a connection whose duplicate descriptor a shard reads and writes. Main
 * keeps its own socket, parked: as long as that is open the connection is, whatever becomes of the
 * thread. So when a shard dies its clients hear why, and do not just fall off.
 *
 * The price: closing the duplicate alone tells the client nothing. A shard that ends a link shuts
 * the connection down, which the client sees at once; and it tells us, and we close ours.
 *
 * Must never close the duplicate's number while a shard might use it or after somebody else has got
 * it.
 */
import { closeSync, writeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../base/clock.ts'
import { type AskEnding, LifeQuestion } from './client-ending.ts'
import { closeIfSame, identify } from './descriptors.ts'
import type { Identity } from './descriptors.ts'
import { CELL, NO_BYTES } from './protocol.ts'
import { descriptorOf, readBytesOf, unparkReading } from './socket-internals.ts'
import type { AskSentBytes } from './sent-bytes.ts'
import { SocketLink } from './socket-link.ts'

export interface KeptConnectionOptions {
  /** Ours, with reading parked. */
  readonly socket: Duplex
  /** The shard's duplicate, not yet posted. */
  readonly descriptor: number
  readonly cells: Int32Array
  readonly cell: number
  readonly clock: Clock
  readonly lingerMs: number | undefined
  /** Undefined where nobody can tell. */
  readonly askEnding: AskEnding | undefined
  /** Undefined where nobody can tell. */
  readonly askSentBytes: AskSentBytes | undefined
  /** Bytes that we have read, and that the shard is given with the descriptor. */
  readonly givenBytes: number
  /** Our socket is closed. */
  readonly onClosed: () => void
}

const DEAF = { receive: (): void => {}, linkDrained: (): void => {}, linkClosed: (): void => {} }

export class KeptConnection {
  readonly #options: KeptConnectionOptions
  readonly #identity: Identity | undefined
  readonly #lifeQuestion: LifeQuestion
  /** Bytes of the connection that were for us alone. */
  readonly #ownBytes: number

  constructor(options: KeptConnectionOptions) {
    this.#options = options
    this.#identity = identify(options.descriptor)
    this.#lifeQuestion = new LifeQuestion(options.clock)
    this.#ownBytes = readBytesOf(options.socket) - options.givenBytes
    options.socket.on('error', () => {})
    options.socket.once('close', options.onClosed)
  }

  /**
   * Whether nobody reads any more what is sent. Only to be asked while the shard's thread certainly
   * writes nothing.
   * @param question what a client may hear at any time
   */
  hasGone(question: Uint8Array): boolean {
    const { socket, cells, cell, askEnding } = this.#options
    const own = descriptorOf(socket)
    if (own === undefined) return true
    const ending = askEnding?.(own) ?? 'open'
    if (ending !== 'half') return ending === 'whole'
    // Behind half of an answer it would be taken for a part of it.
    if (Atomics.load(cells, cell) !== CELL.whole || !this.#lifeQuestion.isDue()) return false
    try {
      // So little is taken whole or not at all.
      writeSync(own, question)
      return false
    } catch (error) {
      // Who takes nothing now has unread answers, and is there.
      return !(error instanceof Error && 'code' in error && error.code === 'EAGAIN')
    }
  }

  /** The shard's thread has not taken it yet. */
  get isOffered(): boolean {
    const { cells, cell } = this.#options
    return Atomics.load(cells, cell) === CELL.offered
  }

  /** Ours; undefined if it is closed. */
  get descriptor(): number | undefined {
    return descriptorOf(this.#options.socket)
  }

  /** Bytes that the client has sent to the shard, whether it has read them or not. */
  get sentBytes(): number | undefined {
    const { socket, askSentBytes, givenBytes } = this.#options
    const own = descriptorOf(socket)
    const allBytes = own === undefined ? undefined : askSentBytes?.(own)
    if (allBytes === undefined) return undefined
    const sentBytes = allBytes - this.#ownBytes
    // A kernel that does not count says 0.
    return sentBytes < givenBytes ? undefined : sentBytes
  }

  /** The shard has closed its duplicate. */
  closedByShard(): void {
    this.#options.socket.destroy()
  }

  /** The shard could not open the duplicate, and has not kept it. */
  refusedByShard(): void {
    closeIfSame(this.#options.descriptor, this.#identity)
    this.#options.socket.destroy()
  }

  /** The shard's thread has ended, so nobody but us can close what it has left. */
  shardDied(lastBytes: Uint8Array): void {
    const { socket, descriptor, cells, cell, clock, lingerMs } = this.#options
    const state = Atomics.load(cells, cell)
    // Not claimed: the number is still ours. Claimed: Node closed it with the thread, unless that
    // died between the claim and the opening; our own socket keeps the connection's identity
    // provable.
    if (state === CELL.offered) closeSync(descriptor)
    else closeIfSame(descriptor, this.#identity)
    const link = new SocketLink({ socket, clock, lingerMs })
    link.start(DEAF)
    unparkReading(socket)
    link.end(state === CELL.partial ? NO_BYTES : lastBytes)
  }

  /** Closes ours; the shard is told by other means to close its own. */
  destroy(): void {
    this.#options.socket.destroy()
  }
}
