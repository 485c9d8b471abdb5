/**
 * The shard's half of the handover: turns what the main thread offers into links.
 *
 * All adopted sockets of a thread share one read buffer. libuv asks for it, fills it and calls back
 * in one go, and a receiver uses bytes only during the call, so two sockets never have it at once.
 * It saves an allocation per read and 64 KiB per connection.
 *
 * A descriptor is claimed in its cell before it is opened: if this thread dies, main knows from the
 * cell whether it is still main's to close.
 */
import { Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import type { Link, LinkReceiver } from '../../../front/wire/link.ts'
import { ByteRing } from './byte-ring.ts'
import { CELL } from './protocol.ts'
import type { HandoverEnds, ToMain, ToShard } from './protocol.ts'
import { RingChannel } from './ring-channel.ts'
import { RingLink } from './ring-link.ts'
import { SocketLink } from './socket-link.ts'

export interface ReceiveOptions {
  /** From `Handover.attachShard`. */
  readonly ends: HandoverEnds
  readonly clock: Clock
  /** Default `LIMITS.lingerMs`. */
  readonly lingerMs?: number
}

/**
 * One connection has come. What it returns hears of it from then on: first the bytes that main has
 * read already (if any), even if reading was paused at once. `route` is what main passed to `hand`.
 */
export type OnConnection = (link: Link, route: unknown) => LinkReceiver

export interface ReceivedConnections {
  /** Connections whose `linkClosed` has not been called. */
  readonly openCount: number
  /** Destroys all links and takes no more. Without this the port keeps the thread alive. */
  close(): void
}

const READ_BUFFER_BYTES = 65_536

/** Starts to receive. Connections come in the event loop, one at a time. */
export function receiveConnections(
  options: ReceiveOptions,
  onConnection: OnConnection,
): ReceivedConnections {
  return new ConnectionTable(options, onConnection)
}

class ConnectionTable implements ReceivedConnections {
  readonly #options: ReceiveOptions
  readonly #onConnection: OnConnection
  readonly #cells: Int32Array
  readonly #channel: RingChannel
  readonly #readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
  readonly #adopted = new Set<SocketLink>()
  readonly #carried = new Map<number, RingLink>()

  constructor(options: ReceiveOptions, onConnection: OnConnection) {
    this.#options = options
    this.#onConnection = onConnection
    const { port, cells, toMain, toShard } = options.ends
    this.#cells = new Int32Array(cells)
    this.#channel = new RingChannel({
      outgoing: new ByteRing(toMain),
      incoming: new ByteRing(toShard),
      visit: (connection, kind, bytes) => this.#carried.get(connection)?.visit(kind, bytes),
    })
    port.on('message', (message: ToShard) => {
      if (message.kind === 'adopt') this.#adopt(message)
      else this.#open(message)
    })
    port.once('close', () => this.#shut())
  }

  get openCount(): number {
    return this.#adopted.size + this.#carried.size
  }

  close(): void {
    this.#options.ends.port.close()
    this.#shut()
  }

  #adopt(offer: ToShard & { kind: 'adopt' }): void {
    const { connection, cell, descriptor } = offer
    Atomics.store(this.#cells, cell, CELL.claimed)
    let link: SocketLink | undefined
    const socket = this.#openSocket(descriptor, (bytes) => link?.receive(bytes))
    if (!socket) {
      this.#tell({ kind: 'refused', connection })
      return
    }
    Atomics.store(this.#cells, cell, CELL.whole)
    const { clock, lingerMs } = this.#options
    const onSending = (sending: boolean): void => {
      Atomics.store(this.#cells, cell, sending ? CELL.partial : CELL.whole)
    }
    const adopted = new SocketLink({ socket, clock, lingerMs, descriptor, onSending })
    link = adopted
    this.#adopted.add(adopted)
    const onClosed = (): void => {
      this.#adopted.delete(adopted)
      this.#tell({ kind: 'closed', connection })
    }
    this.#begin(adopted, offer, onClosed)
  }

  #open(offer: ToShard & { kind: 'open' }): void {
    const { connection } = offer
    const { clock, lingerMs } = this.#options
    const link = new RingLink({ connection, channel: this.#channel, clock, lingerMs })
    this.#carried.set(connection, link)
    this.#begin(link, offer, () => void this.#carried.delete(connection))
  }

  #begin(link: SocketLink | RingLink, offer: ToShard, onClosed: () => void): void {
    const receiver = this.#onConnection(link, offer.route)
    const { initialBytes } = offer
    if (initialBytes.length > 0) receiver.receive(initialBytes)
    link.start(observeClose(receiver, onClosed))
  }

  /** Undefined if there is no such descriptor any more, or it is no socket. */
  #openSocket(fd: number, onBytes: (bytes: Uint8Array) => void): Socket | undefined {
    const callback = (length: number, buffer: Uint8Array): boolean => {
      onBytes(buffer.subarray(0, length))
      return true
    }
    const onread = { buffer: this.#readBuffer, callback }
    try {
      // Paused until the link starts. Half-open, because a client that has said its last may
      // listen.
      return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true, onread }).pause()
    } catch {
      // The one connection is lost; main closes it. Uncaught, it would end the thread for all.
      return undefined
    }
  }

  #tell(message: ToMain): void {
    this.#options.ends.port.postMessage(message)
  }

  #shut(): void {
    this.#channel.stop()
    for (const link of this.#adopted) link.destroy()
    for (const link of this.#carried.values()) link.closed()
  }
}

function observeClose(receiver: LinkReceiver, onClosed: () => void): LinkReceiver {
  const observed: LinkReceiver = {
    receive: (bytes) => receiver.receive(bytes),
    linkDrained: () => receiver.linkDrained(),
    linkClosed: () => {
      onClosed()
      receiver.linkClosed()
    },
  }
  if (receiver.linkEnded) observed.linkEnded = (): void => receiver.linkEnded?.()
  return observed
}
