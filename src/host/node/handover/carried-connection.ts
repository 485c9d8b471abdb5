/**
 * The main thread's side of a connection over the rings: it keeps the client's socket, reads and
 * writes it, and carries bytes to and from the shard. The portable way, and the only one for a
 * socket whose TLS the main thread speaks.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../base/clock.ts'
import { LifeQuestion } from './client-ending.ts'
import { LIMITS } from '../../../base/limits.ts'
import { NO_BYTES, RECORD } from './protocol.ts'
import type { LinkReceiver } from '../../../front/wire/link.ts'
import type { RingChannel } from './ring-channel.ts'
import { SocketLink } from './socket-link.ts'

export interface CarriedConnectionOptions {
  readonly connection: number
  readonly socket: Duplex
  readonly channel: RingChannel
  readonly clock: Clock
  readonly lingerMs: number | undefined
  /** Bytes that have been read already, and that the shard is given with the offer. */
  readonly givenBytes: number
  /** The socket is closed; the connection's number means nothing any more. */
  readonly onClosed: () => void
}

/**
 * Credit is given back in halves of the window: fewer records, and the shard is never idle for it.
 */
const CREDIT_STEP_BYTES = LIMITS.ringWindowBytes / 2

export class CarriedConnection implements LinkReceiver {
  readonly #connection: number
  readonly #channel: RingChannel
  readonly #link: SocketLink
  readonly #lifeQuestion: LifeQuestion
  readonly #onClosed: () => void
  #isStarted = false
  #isPausedByShard = false
  #isPausedByRing = false
  /** Bytes written to the socket that no credit was given for yet. */
  #owedBytes = 0
  /** The shard has sent a part of a write and not the rest. */
  #isPartial = false
  #shardIsDead = false
  #clientHasEnded = false
  #sentBytes: number

  constructor(options: CarriedConnectionOptions) {
    this.#connection = options.connection
    this.#channel = options.channel
    this.#onClosed = options.onClosed
    this.#sentBytes = options.givenBytes
    this.#link = new SocketLink(options)
    this.#lifeQuestion = new LifeQuestion(options.clock)
  }

  /**
   * Bytes that the client has sent to the shard. What we have not read is not in it: an event loop
   * hears of its sockets in the order in which they have got something to read, so that is younger
   * than whatever we have read anywhere, or waits because the shard has enough to do.
   */
  get sentBytes(): number {
    return this.#sentBytes
  }

  /** The shard has not said anything about it yet. */
  get isOffered(): boolean {
    return !this.#isStarted
  }

  receive(bytes: Uint8Array): void {
    this.#sentBytes += bytes.length
    this.#channel.sendData(this.#connection, bytes, false)
    if (!this.#channel.isCongested) return
    this.#isPausedByRing = true
    this.#link.pauseReading()
  }

  linkEnded(): void {
    this.#clientHasEnded = true
    if (this.#shardIsDead) this.#link.end()
    else this.#channel.send(this.#connection, RECORD.end)
  }

  linkDrained(): void {
    this.#giveCredit()
  }

  linkClosed(): void {
    if (!this.#shardIsDead) this.#channel.send(this.#connection, RECORD.closed)
    this.#onClosed()
  }

  /**
   * As of a `KeptConnection`. Whose socket has been closed is in no table any more; a client that
   * has ended its side is sent something, so that it is closed if nobody is there.
   */
  hasGone(question: Uint8Array): boolean {
    const isBetweenAnswers = !this.#isPartial && this.#link.bufferedBytes === 0
    if (this.#clientHasEnded && isBetweenAnswers && this.#lifeQuestion.isDue()) {
      this.#link.write(question)
    }
    return false
  }

  /** The ring to the shard has room again. */
  ringHasRoom(): void {
    if (!this.#isPausedByRing) return
    this.#isPausedByRing = false
    if (!this.#isPausedByShard) this.#link.resumeReading()
  }

  /** One record of this connection from the shard. */
  visit(kind: number, bytes: Uint8Array): void {
    this.#start()
    switch (kind) {
      case RECORD.data:
      case RECORD.part:
        this.#isPartial = kind === RECORD.part
        this.#owedBytes += bytes.length
        this.#link.write(bytes)
        this.#giveCredit()
        break
      case RECORD.end:
        this.#link.end()
        break
      case RECORD.destroy:
        this.#link.destroy()
        break
      case RECORD.pause:
        this.#isPausedByShard = true
        this.#link.pauseReading()
        break
      case RECORD.resume:
        this.#isPausedByShard = false
        if (!this.#isPausedByRing) this.#link.resumeReading()
        break
    }
  }

  /**
   * The thread behind it is gone: `lastBytes` and the end, or only the end if it died mid-write.
   */
  shardDied(lastBytes: Uint8Array): void {
    this.#shardIsDead = true
    this.#start()
    this.#link.end(this.#isPartial ? NO_BYTES : lastBytes)
  }

  destroy(): void {
    this.#shardIsDead = true
    this.#start()
    this.#link.destroy()
  }

  /** Reading starts with the shard's first word, because only then does it know the connection. */
  #start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    this.#link.start(this)
  }

  #giveCredit(): void {
    if (this.#shardIsDead || this.#owedBytes < CREDIT_STEP_BYTES) return
    if (this.#link.bufferedBytes > 0) return
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, this.#owedBytes, true)
    this.#owedBytes = 0
    this.#channel.send(this.#connection, RECORD.credit, bytes)
  }
}
