/**
 * The main thread's table of one shard's connections, by number, and the channels to it. A number
 * is used once in the life of a table, so a late word about an old connection meets nobody.
 */
import type { Duplex } from 'node:stream'
import { MessageChannel } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import type { Clock } from '../../../base/clock.ts'
import { concatBytes } from '../../../base/bytes.ts'
import { LIMITS } from '../../../base/limits.ts'
import { ByteRing } from './byte-ring.ts'
import type { AskEnding } from './client-ending.ts'
import { CarriedConnection } from './carried-connection.ts'
import type { Duplicate } from './descriptors.ts'
import { KeptConnection } from './kept-connection.ts'
import { CELL } from './protocol.ts'
import type { HandoverEnds, ToMain, ToShard } from './protocol.ts'
import { RingChannel } from './ring-channel.ts'
import type { AskSentBytes } from './sent-bytes.ts'
import type { AskUnread } from './unread-bytes.ts'
import { descriptorOf, parkReading } from './socket-internals.ts'

export interface ShardConnectionsOptions {
  /** Undefined: every connection goes over the rings. */
  readonly duplicate: Duplicate | undefined
  readonly clock: Clock
  readonly lingerMs: number | undefined
  readonly askEnding: AskEnding | undefined
  readonly askSentBytes: AskSentBytes | undefined
  readonly askUnread: AskUnread | undefined
}

interface Offer {
  readonly descriptor: number
  readonly cell: number
}

export class ShardConnections {
  /** For the shard's thread. */
  readonly ends: HandoverEnds
  readonly #options: ShardConnectionsOptions
  readonly #port: MessagePort
  readonly #cells: Int32Array
  readonly #freeCells: number[]
  readonly #channel: RingChannel
  readonly #kept = new Map<number, KeptConnection>()
  readonly #carried = new Map<number, CarriedConnection>()
  readonly #clients = new Map<number, KeptConnection | CarriedConnection>()
  #nextNumber = 0

  constructor(options: ShardConnectionsOptions) {
    this.#options = options
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.ends = {
      port: port2,
      cells: new SharedArrayBuffer(LIMITS.connectionsMax * Int32Array.BYTES_PER_ELEMENT),
      toShard: ByteRing.allocate(),
      toMain: ByteRing.allocate(),
    }
    this.#cells = new Int32Array(this.ends.cells)
    this.#freeCells = Array.from(this.#cells, (_, index) => index)
    this.#channel = new RingChannel({
      outgoing: new ByteRing(this.ends.toShard),
      incoming: new ByteRing(this.ends.toMain),
      visit: (connection, kind, bytes) => this.#carried.get(connection)?.visit(kind, bytes),
      onRoom: () => this.#ringHasRoom(),
    })
    port1.on('message', (message: ToMain) => this.#heard(message))
    // A server lives by its listening sockets, not by its shards.
    port1.unref()
  }

  get openCount(): number {
    return this.#kept.size + this.#carried.size
  }

  /** @param client by which {@link hasGone} knows it; 0: not at all */
  add(socket: Duplex, route: unknown, initialBytes: Uint8Array, client: number): void {
    const connection = this.#nextNumber++
    socket.allowHalfOpen = true
    const offer = this.#duplicate(socket)
    if (!offer) {
      this.#know(client, socket, this.#carry(connection, socket, initialBytes.length))
      this.#post({ kind: 'open', connection, route, initialBytes })
      return
    }
    const rest = parkReading(socket)
    const bytes = rest.length === 0 ? initialBytes : concatBytes([initialBytes, ...rest])
    this.#know(client, socket, this.#keep(connection, socket, offer, bytes.length))
    this.#post({ kind: 'adopt', connection, ...offer, route, initialBytes: bytes })
  }

  /** See `Handover.hasGone`. */
  hasGone(client: number, question: Uint8Array): boolean {
    return this.#clients.get(client)?.hasGone(question) ?? true
  }

  /** See `Handover.sentBytes`. */
  sentBytes(client: number): number | undefined {
    return this.#clients.get(client)?.sentBytes
  }

  knows(client: number): boolean {
    return this.#clients.has(client)
  }

  /** See `Handover.isAwaited`. */
  get isAwaited(): boolean {
    if (this.#channel.isAwaited) return true
    for (const carried of this.#carried.values()) if (carried.isOffered) return true
    const descriptors: number[] = []
    for (const kept of this.#kept.values()) {
      if (kept.isOffered) return true
      const { descriptor } = kept
      if (descriptor !== undefined) descriptors.push(descriptor)
    }
    const { askUnread } = this.#options
    return askUnread ? askUnread(descriptors) : descriptors.length > 0
  }

  /** After the end of the shard's thread. Its connections hear `lastBytes` and close. */
  shardDied(lastBytes: Uint8Array): void {
    // What it said before it died still counts: answers of the rings, and closed connections.
    this.#channel.drainNow()
    this.#stop()
    for (const connection of this.#kept.values()) connection.shardDied(lastBytes)
    for (const connection of this.#carried.values()) connection.shardDied(lastBytes)
  }

  /** Closes all connections at once. */
  destroy(): void {
    this.#stop()
    for (const connection of this.#kept.values()) connection.destroy()
    for (const connection of this.#carried.values()) connection.destroy()
  }

  /** A descriptor and a cell for the shard; undefined if either cannot be had. */
  #duplicate(socket: Duplex): Offer | undefined {
    const own = descriptorOf(socket)
    const cell = this.#freeCells.at(-1)
    if (own === undefined || cell === undefined) return undefined
    const descriptor = this.#options.duplicate?.(own)
    if (descriptor === undefined) return undefined
    this.#freeCells.pop()
    return { descriptor, cell }
  }

  #know(client: number, socket: Duplex, known: KeptConnection | CarriedConnection): void {
    if (client === 0) return
    this.#clients.set(client, known)
    socket.once('close', () => {
      if (this.#clients.get(client) === known) this.#clients.delete(client)
    })
  }

  /** @param givenBytes that have been read, and go to the shard */
  #keep(
    connection: number,
    socket: Duplex,
    { descriptor, cell }: Offer,
    givenBytes: number,
  ): KeptConnection {
    Atomics.store(this.#cells, cell, CELL.offered)
    const { clock, lingerMs, askEnding, askSentBytes } = this.#options
    const onClosed = (): void => {
      this.#kept.delete(connection)
      this.#freeCells.push(cell)
    }
    const cells = this.#cells
    const kept = new KeptConnection({
      socket,
      descriptor,
      cells,
      cell,
      clock,
      lingerMs,
      askEnding,
      askSentBytes,
      givenBytes,
      onClosed,
    })
    this.#kept.set(connection, kept)
    return kept
  }

  #carry(connection: number, socket: Duplex, givenBytes: number): CarriedConnection {
    const { clock, lingerMs } = this.#options
    const onClosed = (): void => void this.#carried.delete(connection)
    const channel = this.#channel
    const carried = new CarriedConnection({
      connection,
      socket,
      channel,
      clock,
      lingerMs,
      givenBytes,
      onClosed,
    })
    this.#carried.set(connection, carried)
    return carried
  }

  #heard({ kind, connection }: ToMain): void {
    const kept = this.#kept.get(connection)
    if (kind === 'closed') kept?.closedByShard()
    else kept?.refusedByShard()
  }

  #post(message: ToShard): void {
    this.#port.postMessage(message)
  }

  #ringHasRoom(): void {
    for (const connection of this.#carried.values()) connection.ringHasRoom()
  }

  #stop(): void {
    this.#channel.stop()
    this.#port.close()
  }
}
