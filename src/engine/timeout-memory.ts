/**
 * Postgres's timeouts, in a process in which no timer ever goes off: what a session has asked for,
 * and when the statement that runs has had its time. Postgres keeps its own books, per statement
 * and up to date after each SET; they are only read here, by the thread that runs it between two
 * batches, and by another one while a statement runs.
 *
 * Source: Postgres 18, timeout.c and timeout.h, guc.c; on a machine with pointers of 32 bits.
 */
import type { InterruptFlags } from './interrupts.ts'

/** What a session allows, in milliseconds. 0: no limit. */
export interface SessionTimeouts {
  readonly statement_timeout: number
  readonly lock_timeout: number
  readonly idle_in_transaction_session_timeout: number
  readonly idle_session_timeout: number
  readonly transaction_timeout: number
}

export const NO_TIMEOUTS: SessionTimeouts = {
  statement_timeout: 0,
  lock_timeout: 0,
  idle_in_transaction_session_timeout: 0,
  idle_session_timeout: 0,
  transaction_timeout: 0,
}

export const TIMEOUT_NAMES = Object.keys(NO_TIMEOUTS) as (keyof SessionTimeouts)[]

/** Addresses of the variables behind the settings. */
export type TimeoutAnchors = Readonly<Record<keyof SessionTimeouts, number>>

/** struct timeout_params: id, whether it is active, whether it went off, and when it is to. */
export const TIMEOUT_BYTES = 40
const ACTIVE_AT = 4
const INDICATOR_AT = 5
const DUE_AT = 24
/** enum TimeoutId. */
export const TIMEOUT_COUNT = 13
const LOCK_TIMEOUT = 2
const STATEMENT_TIMEOUT = 3
const TRANSACTION_TIMEOUT = 8
/** Midnight of 2000-01-01 as Unix time: where Postgres counts its microseconds from. */
const POSTGRES_EPOCH_MS = 946_684_800_000

/** A time limit that what runs in a backend has passed, and when that was (Unix time). */
export interface Overdue {
  readonly limit: 'statement' | 'transaction'
  readonly sinceMs: number
}

/** Which limit has been passed at `nowMs` (Unix time) by what runs. Any thread may ask. */
export function overdueIn(
  { memory, timeoutTableAt }: InterruptFlags,
  nowMs: number,
): Overdue | undefined {
  const view = new DataView(memory.buffer)
  const due = (limit: Overdue['limit'], id: number): Overdue | undefined => {
    const at = timeoutTableAt + id * TIMEOUT_BYTES
    if (view.getUint8(at + ACTIVE_AT) === 0) return undefined
    const sinceMs = Number(view.getBigInt64(at + DUE_AT, true)) / 1000 + POSTGRES_EPOCH_MS
    return sinceMs <= nowMs ? { limit, sinceMs } : undefined
  }
  return due('transaction', TRANSACTION_TIMEOUT) ?? due('statement', STATEMENT_TIMEOUT)
}

/** Notes whether the statement timeout went off: a cancel gives it as its reason. */
export function noteStatementTimeout(flags: InterruptFlags, wentOff: boolean): void {
  noteTimeout(flags, STATEMENT_TIMEOUT, wentOff)
}

/** The same for the lock timeout. */
export function noteLockTimeout(flags: InterruptFlags, wentOff: boolean): void {
  noteTimeout(flags, LOCK_TIMEOUT, wentOff)
}

function noteTimeout(
  { memory, timeoutTableAt }: InterruptFlags,
  id: number,
  wentOff: boolean,
): void {
  const at = timeoutTableAt + id * TIMEOUT_BYTES + INDICATOR_AT
  Atomics.store(new Uint8Array(memory.buffer), at, wentOff ? 1 : 0)
}
