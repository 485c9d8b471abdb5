/**
 * The main thread's half of the handover. It accepts connections and learns where they belong; from
 * then on the shard's own thread reads and writes them, so that a query crosses no thread.
 *
 *     client --- main: accept, startup packet, route --- hand() ---> shard: Link, receiver
 *
 * Two ways, one interface. `descriptor`: the shard gets a duplicate of the socket's descriptor and
 * does its own reads and writes; needs Node's experimental ffi. `ring`: main keeps reading and
 * writing and carries bytes through shared memory; works everywhere, costs 12 to 14 us per query
 * (measured, see the notes on the wire path). Sockets with TLS in the main thread always go by
 * ring.
 *
 * Must never block the main thread, and never lose a connection without telling its client.
 */
import type { Duplex } from 'node:stream'
import { assert } from '../../../base/assert.ts'
import type { Clock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import { loadAskEnding } from './client-ending.ts'
import { loadDuplicate } from './descriptors.ts'
import { loadAskSentBytes } from './sent-bytes.ts'
import { loadAskUnread } from './unread-bytes.ts'
import type { HandoverEnds } from './protocol.ts'
import { ShardConnections } from './shard-connections.ts'

export type HandoverMode = 'descriptor' | 'ring'

export interface HandoverOptions {
  /** Default: `descriptor` where this Node and system can, else `ring`. */
  readonly mode?: HandoverMode
  readonly clock: Clock
  /** Default `LIMITS.lingerMs`. */
  readonly lingerMs?: number
}

export interface Handover {
  readonly mode: HandoverMode
  /** Connections handed over and not closed yet. */
  readonly openCount: number
  /** Prepares for a shard's thread; give it the ends, with `ends.port` in the transfer list. */
  attachShard(shardIndex: number): HandoverEnds
  /**
   * Gives `socket` to a shard, which receives `initialBytes` (what has been read from it) and the
   * rest. `route` may be anything that can be cloned. The caller forgets the socket: it must have
   * removed its own listeners. False if there is no such shard now or the socket is closed already:
   * then nothing was done and the socket is still the caller's.
   * @param client by which {@link hasGone} knows it. Default: not at all
   */
  hand(
    socket: Duplex,
    shardIndex: number,
    route: unknown,
    initialBytes: Uint8Array,
    client?: number,
  ): boolean
  /**
   * Whether nobody reads any more what is sent to a client, as far as that can be known. Only to be
   * asked while the shard's thread certainly writes nothing.
   * @param question what a client may hear at any time: one that has ended its side may be sent it
   */
  hasGone(shardIndex: number, client: number, question: Uint8Array): boolean
  /**
   * Bytes that a client has sent so far, of those that its receiver is given, whether it has got
   * them or not. Undefined if there is no such client, or nobody can tell.
   */
  sentBytes(shardIndex: number, client: number): number | undefined
  /**
   * Whether any client of a shard has said something that its thread has not read. To be asked
   * while that thread reads nothing: then all of them wait for it. Where nobody can tell, it is so
   * whenever there are clients.
   */
  isAwaited(shardIndex: number): boolean
  /** Whether there is such a client. */
  knows(shardIndex: number, client: number): boolean
  /**
   * To be called after the `exit` event of a shard's thread, not before. Its clients are sent
   * `lastBytes` (unless it died in the middle of an answer, where they would be taken for a part of
   * it) and closed. The shard may then be attached again.
   */
  shardDied(shardIndex: number, lastBytes: Uint8Array): void
  /** Closes every connection at once. Drain before. */
  close(): void
}

/**
 * Errors: CONFIG_INVALID when `descriptor` is asked for and impossible here.
 *
 * @example
 * const handover = createHandover({ clock })
 * const ends = handover.attachShard(0)
 * new Worker(url, { workerData: { ends }, transferList: [ends.port] })
 * readRoute({ socket, clock, peek }, (route, bytes) => handover.hand(socket, 0, route, bytes))
 */
export function createHandover(options: HandoverOptions): Handover {
  const duplicate = options.mode === 'ring' ? undefined : loadDuplicate()
  if (options.mode === 'descriptor' && !duplicate) {
    throw new PgnapError('CONFIG_INVALID', 'connections cannot be handed over by descriptor here', {
      hint: 'it needs Node 26 or newer on Linux or macOS, with ffi allowed; use the ring instead',
    })
  }
  const { clock, lingerMs } = options
  const askEnding = duplicate && loadAskEnding()
  const askSentBytes = duplicate && loadAskSentBytes()
  const askUnread = duplicate && loadAskUnread()
  const shards = new Map<number, ShardConnections>()
  /** Tables of dead shards whose clients are still taking their last bytes. */
  const dying = new Set<ShardConnections>()
  return {
    mode: duplicate ? 'descriptor' : 'ring',
    get openCount(): number {
      let count = 0
      for (const shard of [...shards.values(), ...dying]) count += shard.openCount
      return count
    },
    attachShard(shardIndex) {
      assert(!shards.has(shardIndex), 'a shard is attached once')
      const questions = { askEnding, askSentBytes, askUnread }
      const shard = new ShardConnections({ duplicate, clock, lingerMs, ...questions })
      shards.set(shardIndex, shard)
      return shard.ends
    },
    hand(socket, shardIndex, route, initialBytes, client = 0) {
      const shard = shards.get(shardIndex)
      if (!shard || socket.destroyed) return false
      shard.add(socket, route, initialBytes, client)
      return true
    },
    hasGone: (shardIndex, client, question) =>
      shards.get(shardIndex)?.hasGone(client, question) ?? false,
    sentBytes: (shardIndex, client) => shards.get(shardIndex)?.sentBytes(client),
    isAwaited: (shardIndex) => shards.get(shardIndex)?.isAwaited ?? false,
    knows: (shardIndex, client) => shards.get(shardIndex)?.knows(client) ?? false,
    shardDied(shardIndex, lastBytes) {
      const shard = shards.get(shardIndex)
      assert(shard, 'a shard that dies was attached')
      shards.delete(shardIndex)
      for (const old of dying) if (old.openCount === 0) dying.delete(old)
      dying.add(shard)
      shard.shardDied(lastBytes)
    },
    close() {
      for (const shard of [...shards.values(), ...dying]) shard.destroy()
      shards.clear()
      dying.clear()
    },
  }
}
