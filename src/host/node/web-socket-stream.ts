/**
 * A WebSocket as the stream of bytes that its binary frames carry, so that whoever serves a TCP
 * connection serves it too. Frames have no meaning: bytes may be split among them in any way.
 *
 *   Close frame of the client      the end of what is read, as a half-close of TCP
 *   end of what is written         a Close frame; finished when the client has answered it
 *   text frame, wrong frame        the WebSocket is closed with the status for it, then destroyed
 *   no sign of life                cut off
 *
 * A frame is held whole by the library before a byte of it can be read. So until the client is
 * greeted, which means that it has proven who it is, it may send `webSocketUnprovenBytesMax` only,
 * and all such clients together `webSocketUnprovenTotalBytesMax`. After that, what it holds is on
 * the account of the thread.
 */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type WebSocket from 'ws'
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { HeldBytes, Holder } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { AUTHENTICATION_OK } from '../../front/wire/server-messages.ts'

/** Status codes of a Close frame (RFC 6455, section 7.4.1). */
const CLOSE = { normal: 1000, unsupportedData: 1003, tooBig: 1009 } as const
/** What the library says if no Close frame has come. */
const ABNORMAL = 1006

/**
 * What is given on at once of a frame, whoever reads it may stop in between. Larger ones are copied
 * in pieces of so much: of a view, the last byte would keep all of the frame.
 */
const PIECE_BYTES = 65_536
/** Of a frame of a client without a payload, which a control frame has up to 125 bytes of. */
const CONTROL_HEAD_BYTES = 6

type Done = (error?: Error | null) => void

/** What all WebSockets of a server hold. */
export interface WebSocketAccounts {
  /** Of clients that have proven nothing. */
  readonly unproven: HeldBytes
  /** Of the others, and whoever else holds something in this thread. */
  readonly proven: HeldBytes
}

export interface WebSocketStreamOptions {
  readonly webSocket: WebSocket
  /** Under `webSocket`, just opened, of which `headBytes` have been read. */
  readonly socket: Socket
  readonly headBytes: number
  readonly accounts: WebSocketAccounts
  /** Whose it is: all that one of them holds counts as one. */
  readonly owner: string
  readonly clock: Clock
}

export class WebSocketStream extends Duplex implements Holder {
  readonly #webSocket: WebSocket
  readonly #socket: Socket
  readonly #accounts: WebSocketAccounts
  /** What came over the socket before it was a WebSocket. */
  readonly #bytesBefore: number
  /** The same, up to the last frame that was whole. */
  #bytesOfFrames: number
  #isProven = false
  readonly #owner: string
  readonly #clock: Clock
  /** Nobody reads any more, or nothing that comes can be read. */
  #isDeaf = false
  #isBroken = false
  #silentMs = 0
  #finished: Done | undefined
  readonly #count = (): void => {
    if (this.destroyed) return
    const { bytesRead } = this.#socket
    if (this.#isProven) {
      const unfinished = Math.max(0, bytesRead - this.#bytesOfFrames)
      // Of what has been given on, some waits here to be read.
      const bytes = unfinished + this.readableLength
      if (bytes > LIMITS.heldUncountedBytes) this.#accounts.proven.set(this, bytes, this.#owner)
      else this.#accounts.proven.delete(this)
    } else {
      const bytes = bytesRead - this.#bytesBefore
      if (bytes > LIMITS.webSocketUnprovenBytesMax) this.giveUp()
      else this.#accounts.unproven.set(this, bytes)
    }
  }

  constructor({ webSocket, socket, headBytes, accounts, owner, clock }: WebSocketStreamOptions) {
    super({ allowHalfOpen: true })
    this.#accounts = accounts
    this.#owner = owner
    this.#clock = clock
    this.#webSocket = webSocket
    this.#socket = socket
    this.#bytesBefore = socket.bytesRead - headBytes
    this.#bytesOfFrames = this.#bytesBefore
    socket.on('data', this.#count)
    // A broken connection is an ordinary end: 'close' follows.
    webSocket.on('error', () => {})
    webSocket.on('message', (bytes: Buffer, isBinary) => this.#received(bytes, isBinary))
    webSocket.on('ping', (data: Buffer) => this.#skipControl(data))
    webSocket.on('pong', (data: Buffer) => {
      this.#silentMs = 0
      this.#skipControl(data)
    })
    webSocket.on('close', (code) => this.#closed(code))
  }

  /** It holds too much, for a client that has proven nothing or beside all others. */
  giveUp(): void {
    // It has had its Close frame, and sends more.
    if (this.#isDeaf) return void this.destroy()
    // What has come of a frame is let go with the connection alone, and no more is to come.
    this.#clock.setTimer(LIMITS.webSocketGoodbyeMs, () => this.destroy())
    const reason = this.#isProven
      ? 'the clients of this server make it hold too much'
      : 'too much before the client was let in'
    this.#break(CLOSE.tooBig, reason)
    this.#webSocket.pause()
  }

  /** To be called every `webSocketPingMs`. */
  checkPulse(): void {
    const { isPaused, bufferedAmount } = this.#webSocket
    // Its answer would not be read, or our question not be sent: silence says nothing.
    if (isPaused || bufferedAmount > 0) this.#silentMs = 0
    else if (this.#silentMs >= LIMITS.webSocketSilenceMs) this.destroy()
    else {
      this.#silentMs += LIMITS.webSocketPingMs
      if (this.#isOpen) this.#webSocket.ping()
    }
  }

  override _read(): void {
    // What is being read is in the buffer until this has returned.
    if (this.#isProven) queueMicrotask(this.#count)
    if (!this.#isBroken) this.#webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: Done): void {
    if (equalBytes(chunk.subarray(0, AUTHENTICATION_OK.length), AUTHENTICATION_OK)) {
      this.#prove()
    }
    // As a client's Close frame ends what it takes, the rest goes nowhere; 'close' follows.
    if (!this.#isOpen) done()
    else this.#webSocket.send(chunk, { binary: true }, () => done())
  }

  override _final(done: Done): void {
    if (this.#webSocket.readyState === this.#webSocket.CLOSED) return done()
    this.#finished = done
    this.#isDeaf = true
    if (!this.#isBroken) this.#webSocket.resume()
    this.#webSocket.close(CLOSE.normal)
  }

  override _destroy(_error: Error | null, done: Done): void {
    this.#stopCounting()
    this.#webSocket.terminate()
    done()
  }

  get #isOpen(): boolean {
    return this.#webSocket.readyState === this.#webSocket.OPEN
  }

  #received(bytes: Buffer, isBinary: boolean): void {
    this.#silentMs = 0
    this.#bytesOfFrames = this.#socket.bytesRead
    if (!this.#isDeaf && !this.destroyed) {
      if (isBinary) this.#giveOn(bytes)
      else this.#break(CLOSE.unsupportedData, 'send the Postgres protocol in binary frames')
    }
    this.#count()
  }

  #giveOn(bytes: Buffer): void {
    let isWanted = true
    if (bytes.length <= PIECE_BYTES) isWanted = this.push(bytes)
    else {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        isWanted = this.push(Buffer.from(bytes.subarray(at, at + PIECE_BYTES)))
      }
    }
    if (!isWanted) this.#webSocket.pause()
  }

  /** It is no part of a frame with data, also if it comes between two parts of one. */
  #skipControl(data: Buffer): void {
    this.#bytesOfFrames += CONTROL_HEAD_BYTES + data.length
  }

  #prove(): void {
    this.#isProven = true
    this.#accounts.unproven.delete(this)
    this.#count()
  }

  #stopCounting(): void {
    this.#socket.off('data', this.#count)
    for (const account of Object.values(this.#accounts)) account.delete(this)
  }

  #break(code: number, reason: string): void {
    this.#isDeaf = true
    this.#isBroken = true
    this.#webSocket.close(code, reason)
  }

  #closed(code: number): void {
    if (this.#isBroken || code === ABNORMAL) this.destroy()
    else {
      this.push(null)
      this.#finished?.()
    }
  }
}
