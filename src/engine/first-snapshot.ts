/**
 * Finds Postgres's `FirstSnapshotSet` when the engine is built: whether the open transaction has
 * had a snapshot, as almost every statement needs one. Until then its modes can be changed, and a
 * transaction that is begun anew, in another backend or in the same one, must know whether it
 * still can.
 *
 * No module exports it. It is the one byte that is 1 from the first query of a transaction to its
 * end, and 0 behind its beginning and what needs no snapshot.
 *
 * Source: Postgres 18, snapmgr.c: GetTransactionSnapshot, AtEOXact_Snapshot; variable.c.
 */
import { utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import { bytesEqualTo, onlyPlace } from './memory-search.ts'

export interface FirstSnapshotProbe {
  /** Memory now; it may grow. */
  readonly heap: () => Uint8Array
  /** End of the static variables. */
  readonly staticEnd: number
  /** Runs a statement; its answer as text. */
  readonly run: (statement: string) => string
  readonly send: (messages: Uint8Array) => void
}

const CHANGE = message('Q', utf8('set transaction isolation level serializable\0'))

/** Statements one after the other, and what the byte is behind each. */
const STEPS: readonly (readonly [string, 0 | 1])[] = [
  ['begin', 0],
  ['show work_mem', 0],
  ['select 1', 1],
  ['show work_mem', 1],
  ['commit', 0],
  ['start transaction read only', 0],
  ['set transaction isolation level repeatable read', 0],
  ['values (1)', 1],
  ['select 2', 1],
  ['rollback', 0],
  ['begin', 0],
  ['savepoint one', 0],
  ['explain select 1', 1],
  ['rollback to one', 1],
  ['commit and chain', 0],
  ['lock table pg_class in access share mode', 0],
  ['select 3', 1],
  ['commit', 0],
]

export function findFirstSnapshot({ heap, staticEnd, run, send }: FirstSnapshotProbe): number {
  let places: number[] | undefined
  for (const [statement, value] of STEPS) {
    run(statement)
    places = bytesEqualTo(value, heap().subarray(0, staticEnd), places)
  }
  // A transaction of which it says that it has had none lets its modes be changed.
  const found = places?.filter((at) => {
    run('begin')
    run('select 1')
    heap()[at] = 0
    send(CHANGE)
    return run('commit').includes('COMMIT')
  })
  return onlyPlace('the sign that a transaction has had a snapshot', found ?? [])
}
