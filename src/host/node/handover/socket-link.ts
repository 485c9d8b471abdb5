/**
 * A `Link` over a socket of this thread: in a shard over a descriptor it has been given, in the
 * main thread over the client's own socket.
 *
 *     open ---- end() ----> ending ---- the client has closed, or lingered too long ----> closed
 *       \------ destroy(), or the network's error ---------------------------------------/
 *
 * Ending reads on and throws away. To close a socket with unread bytes in it is to reset the
 * connection, and a reset destroys what the client has not read yet: its last message.
 *
 * With a descriptor, answers are written by `write(2)` straight from the backend's buffer; only
 * what the kernel does not take goes through the stream, copied.
 */
import { writeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { assert } from '../../../base/assert.ts'
import type { Clock, Timer } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Link, LinkReceiver } from '../../../front/wire/link.ts'
import { unsentBytes } from './socket-internals.ts'

export interface SocketLinkOptions {
  readonly socket: Duplex
  readonly clock: Clock
  /** Default `LIMITS.lingerMs`. */
  readonly lingerMs?: number | undefined
  /**
   * Of `socket`; writes then go around the stream, and bytes come by `receive`, not by the stream.
   */
  readonly descriptor?: number
  /** Told before bytes are given to the network, and after it has taken all of them. */
  readonly onSending?: (sending: boolean) => void
}

export class SocketLink implements Link {
  readonly #socket: Duplex
  readonly #clock: Clock
  readonly #lingerMs: number
  readonly #descriptor: number | undefined
  readonly #onSending: ((sending: boolean) => void) | undefined
  #receiver: LinkReceiver | undefined
  #state: 'open' | 'ending' | 'closed' = 'open'
  #isPaused = false
  #lingerTimer: Timer | undefined

  constructor(options: SocketLinkOptions) {
    this.#socket = options.socket
    this.#clock = options.clock
    this.#lingerMs = options.lingerMs ?? LIMITS.lingerMs
    this.#descriptor = options.descriptor
    this.#onSending = options.onSending
    // A broken connection is an ordinary end: 'close' follows.
    this.#socket.on('error', () => {})
    this.#socket.once('close', () => this.#closed())
  }

  /** Begins to tell `receiver` what happens. Until then nothing is lost; nothing is read either. */
  start(receiver: LinkReceiver): void {
    assert(this.#receiver === undefined, 'a link starts once')
    this.#receiver = receiver
    if (this.#descriptor === undefined) {
      this.#socket.on('data', (bytes: Uint8Array) => this.receive(bytes))
    }
    // The end may have been read before the connection came here; it is not told twice.
    if (this.#socket.readableEnded) queueMicrotask(() => this.#clientEnded())
    else this.#socket.once('end', () => this.#clientEnded())
    if (this.#state === 'closed') queueMicrotask(() => receiver.linkClosed())
    else if (!this.#isPaused) this.#socket.resume()
  }

  /** Bytes from the socket, for whoever reads it on our behalf. */
  receive(bytes: Uint8Array): void {
    if (this.#state === 'open') this.#receiver?.receive(bytes)
  }

  get bufferedBytes(): number {
    return this.#socket.destroyed ? 0 : this.#socket.writableLength
  }

  write(bytes: Uint8Array): void {
    if (this.#state !== 'open' || this.#socket.destroyed || bytes.length === 0) return
    this.#onSending?.(true)
    const taken = this.#writeNow(bytes)
    if (taken === bytes.length) this.#onSending?.(false)
    else if (taken >= 0) {
      this.#socket.write(Buffer.from(bytes.subarray(taken)), () => this.#written())
    }
  }

  end(lastBytes?: Uint8Array): void {
    if (this.#state !== 'open') return
    if (lastBytes) this.write(lastBytes)
    this.#state = 'ending'
    this.#isPaused = false
    this.#socket.end()
    this.#socket.resume()
    this.#linger(Number.POSITIVE_INFINITY)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  pauseReading(): void {
    if (this.#state !== 'open') return
    this.#isPaused = true
    this.#socket.pause()
  }

  resumeReading(): void {
    if (this.#state !== 'open') return
    this.#isPaused = false
    if (this.#receiver) this.#socket.resume()
  }

  /**
   * Writes what the kernel takes at once. Returns how many bytes, or -1 if the connection is
   * broken.
   */
  #writeNow(bytes: Uint8Array): number {
    let taken = 0
    if (this.#descriptor === undefined || this.#socket.writableLength > 0) return taken
    try {
      while (taken < bytes.length) taken += writeSync(this.#descriptor, bytes, taken)
      return taken
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return taken
      this.#socket.destroy()
      return -1
    }
  }

  #written(): void {
    if (this.#socket.destroyed || this.#socket.writableLength > 0) return
    this.#onSending?.(false)
    if (this.#state === 'open') this.#receiver?.linkDrained()
  }

  #clientEnded(): void {
    if (this.#state !== 'open') return
    if (this.#receiver?.linkEnded) this.#receiver.linkEnded()
    else this.end()
  }

  /** Gives the client `lingerMs` to take something, again and again while it does. */
  #linger(unsentBefore: number): void {
    const unsent = unsentBytes(this.#socket)
    if (unsent >= unsentBefore) {
      this.#socket.destroy()
      return
    }
    this.#lingerTimer = this.#clock.setTimer(this.#lingerMs, () => this.#linger(unsent))
  }

  #closed(): void {
    this.#state = 'closed'
    this.#lingerTimer?.cancel()
    this.#receiver?.linkClosed()
  }
}
