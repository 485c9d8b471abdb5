/**
 * What the main thread and a shard say to each other about connections. Three channels, because
 * each does what the others cannot:
 *
 *   port    a MessagePort: offers with their routes (any cloneable value), ends of connections
 *   cells   shared integers, one per connection: how far a shard has come with it, readable after
 *           the shard's thread has died in the middle of anything
 *   rings   bytes in both directions, for connections that the main thread reads and writes
 *
 * Types and constants only.
 */
import type { MessagePort } from 'node:worker_threads'

/** What a shard's thread needs to receive connections. Post it with `port` in the transfer list. */
export interface HandoverEnds {
  readonly port: MessagePort
  readonly cells: SharedArrayBuffer
  readonly toShard: SharedArrayBuffer
  readonly toMain: SharedArrayBuffer
}

export type ToShard =
  | {
      readonly kind: 'adopt'
      readonly connection: number
      readonly cell: number
      /** From the moment the cell says claimed, the shard's to close. */
      readonly descriptor: number
      readonly route: unknown
      readonly initialBytes: Uint8Array
    }
  | {
      readonly kind: 'open'
      readonly connection: number
      readonly route: unknown
      readonly initialBytes: Uint8Array
    }

/** `refused`: the shard could not open the descriptor; whether it is still open is not known. */
export interface ToMain {
  readonly kind: 'closed' | 'refused'
  readonly connection: number
}

/**
 * States of a cell, in the order in which a shard sets them:
 *
 *     offered -> claimed -> whole <-> partial
 *
 * offered: the shard has not touched the descriptor; claimed: it is opening it; whole: all that was
 * written has reached the kernel; partial: some of it has not, so nothing may be said after it.
 */
export const CELL = { offered: 0, claimed: 1, whole: 2, partial: 3 } as const

/** Kinds of ring records. */
export const RECORD = {
  /** The bytes of one write, or their last part. */
  data: 0,
  /** Bytes of a write of which more will come. */
  part: 1,
  /** To main: end the socket. To the shard: the client has ended its side. */
  end: 2,
  /** To main only: destroy the socket. */
  destroy: 3,
  /**
   * To main only: stop reading, go on reading. Main reads nothing before a shard's first record.
   */
  pause: 4,
  resume: 5,
  /** To the shard only: the connection is over; its number is not used again. */
  closed: 6,
  /** To the shard only: a u32, little-endian, of bytes that have left; as many more may come. */
  credit: 7,
} as const

export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0)
