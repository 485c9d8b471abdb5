/**
 * Finds where Postgres keeps the time at which the open transaction began, which is what `now()`
 * says: so that a transaction which is begun anew, in another backend or in the same one, can be
 * the one that it was.
 *
 * No module exports it, and several variables hold the same time; it is the one that `now()`
 * follows. Looked for when the engine is built.
 *
 * Source: Postgres 18, xact.c: xactStartTimestamp; timestamp.h.
 */
import { assert } from '../base/assert.ts'
import { onlyPlace } from './memory-search.ts'

/** Microseconds from 1970 to 2000, where Postgres begins to count. */
const EPOCH_MICROSECONDS = 946_684_800_000_000n
const NOW = 'select (extract(epoch from now()) * 1000000)::int8'
const WORD_BYTES = 8

export interface TransactionStartProbe {
  /** Memory now; it may grow. */
  readonly heap: () => Uint8Array
  /** End of the static variables. */
  readonly staticEnd: number
  /** Runs a statement; its answer as text. */
  readonly run: (statement: string) => string
}

/** In a backend that nobody will use afterwards. */
export function findTransactionStart({ heap, staticEnd, run }: TransactionStartProbe): number {
  const now = (): bigint => {
    const text = /(\d+)C\0/.exec(run(NOW))?.[1]
    assert(text !== undefined, 'a question for the time is answered')
    return BigInt(text) - EPOCH_MICROSECONDS
  }
  const view = (): DataView => {
    const { buffer, byteOffset, byteLength } = heap()
    return new DataView(buffer, byteOffset, byteLength)
  }
  run('begin')
  const startedAt = now()
  const places: number[] = []
  for (let at = 0; at < staticEnd; at += WORD_BYTES) {
    if (view().getBigInt64(at, true) === startedAt) places.push(at)
  }
  const found = places.filter((at) => {
    view().setBigInt64(at, startedAt + 1n, true)
    const follows = now() === startedAt + 1n
    view().setBigInt64(at, startedAt, true)
    return follows
  })
  run('rollback')
  return onlyPlace('the start of the transaction', found)
}
