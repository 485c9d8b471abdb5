/**
 * A transaction of several batches in which a client has only read so far, beside another client
 * that has the backend. It is open nowhere: each of its batches begins it anew in a fork, and rolls
 * it back there when it has been answered. So it holds nobody up, nobody can take its fork from
 * under it, and when a batch turns out to write, it waits for the backend, is begun there and goes
 * on.
 *
 * That is right where Postgres would let each statement see what is committed when it begins (READ
 * COMMITTED), and where nothing of the transaction has to last from one batch to the next: no
 * setting, savepoint, cursor or portal. What lasts is the time at which it began, whether it may
 * write, whether that can still be changed, and whether it has failed; those are brought along.
 *
 * What has been read in one cannot be read again the same way: above READ COMMITTED a transaction
 * floats until its first query, which is when it gets the snapshot that it has to keep.
 */
import { assert } from '../base/assert.ts'
import { concatBytes, textAt, utf8 } from '../base/bytes.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import type { Slot } from '../engine/engine.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import { eachMessage } from '../base/message-frames.ts'

export interface FloatingTransaction {
  /** In microseconds since 2000: what `now()` says. */
  readonly startedAt: bigint
  /** Begins another one of its kind. */
  readonly begin: Uint8Array
  /** Its modes cannot be changed any more. */
  readonly hasSnapshot: boolean
  /** All its queries are to see the same: the first one is for the backend. */
  readonly keepsSnapshot: boolean
  readonly isFailed: boolean
}

const MODES = ownQuery(`SELECT pg_catalog.current_setting('transaction_isolation'),
  pg_catalog.current_setting('transaction_read_only'),
  pg_catalog.current_setting('transaction_deferrable')`)
const ROLLBACK = ownQuery('ROLLBACK')
/** Of the portal without a name: what `leavesPortal` has let pass has been read to its end. */
const CLOSE_UNNAMED = concatBytes([message('C', utf8('P\0')), SYNC])
/** What cannot be done is an error, and that is all it is for. */
const FAIL = concatBytes([message('E', utf8('_pgnap_no_such_portal\0\0\0\0\0')), SYNC])
const EACH_STATEMENT_ANEW: ReadonlySet<string> = new Set(['read committed', 'read uncommitted'])
const FAILED = { begin: ownQuery('BEGIN'), keepsSnapshot: false }
const QUERY = 0x51
const BIND = 0x42
const EXECUTE = 0x45
const SYNC_TYPE = 0x53
const PORTAL_SUSPENDED = 0x73

/** Begins one anew, in a backend that is idle. Throws what the slot throws. */
export function goOn(slot: Slot, floating: FloatingTransaction): void {
  slot.run(floating.begin)
  assert(slot.transactionStatus === 'transaction', 'a transaction that floats can be begun anew')
  slot.session.transactionStart = floating.startedAt
  slot.session.hasSnapshot = floating.hasSnapshot
  if (floating.isFailed) slot.run(FAIL)
}

/**
 * How the transaction that is open could be gone on with elsewhere. It stays open: end it.
 * Overwrites the slot's last answer, and throws what the slot throws.
 * @returns undefined: it can only go on here
 */
export function float(slot: Slot): FloatingTransaction | undefined {
  const isFailed = slot.transactionStatus === 'failed'
  const { transactionStart: startedAt, hasSnapshot } = slot.session
  // One that has failed cannot be asked, and has the modes of any new one.
  const { begin, keepsSnapshot } = isFailed ? FAILED : kindOf(slot)
  if (hasSnapshot && keepsSnapshot) return undefined
  slot.run(CLOSE_UNNAMED)
  // A function may have opened a cursor: that is no statement of which anybody would hear.
  if (slot.session.portalCount > 0) return undefined
  return { begin, keepsSnapshot, startedAt, hasSnapshot, isFailed }
}

/** Ends what is open. Throws what the slot throws. */
export function rollBack(slot: Slot): void {
  slot.run(ROLLBACK)
}

function kindOf(slot: Slot): Pick<FloatingTransaction, 'begin' | 'keepsSnapshot'> {
  const [isolation, readOnly, deferrable] = readAnswer(slot.run(MODES)).rows[0] ?? []
  const write = readOnly === 'on' ? 'READ ONLY' : 'READ WRITE'
  const defer = deferrable === 'on' ? 'DEFERRABLE' : 'NOT DEFERRABLE'
  return {
    begin: ownQuery(`BEGIN ISOLATION LEVEL ${isolation}, ${write}, ${defer}`),
    keepsSnapshot: !EACH_STATEMENT_ANEW.has(isolation ?? ''),
  }
}

/** Whether a batch leaves a portal in its transaction that a later one might go on with. */
export function leavesPortal(messages: Uint8Array, answer: Uint8Array): boolean {
  let leaves = false
  let isBound = false
  eachMessage(messages, (type, at) => {
    if (type === BIND) {
      leaves ||= isBound || textAt(messages, at + 5) !== ''
      isBound = true
    } else if (type === EXECUTE) isBound = false
    else if (type === SYNC_TYPE || type === QUERY) leaves ||= isBound
  })
  eachMessage(answer, (type) => (leaves ||= type === PORTAL_SUSPENDED))
  return leaves
}
