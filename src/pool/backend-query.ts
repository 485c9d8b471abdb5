/**
 * The few words of the Postgres protocol that the pool speaks by itself: upkeep queries, and the
 * sequence that ends whatever a departed client has left open.
 *
 * Its queries use the extended protocol with a statement and a portal of their own name, because a
 * simple query would destroy the unnamed statement that a client may have parsed and not yet bound.
 * It must never be used while a client holds the backend.
 */
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import { eachMessage } from '../base/message-frames.ts'

/** Name of the pool's own statement and portal; nothing of it outlives one query. */
export const OWN_NAME = '_pgnap_pool'

export type Row = readonly (string | null)[]

/**
 * `statement` without parameters, to its end, in the extended protocol. Leaves nothing of its own,
 * refused or not.
 */
export function ownQuery(statement: string): Uint8Array {
  return concatBytes([
    message('P', utf8(`${OWN_NAME}\0${statement}\0\0\0`)),
    message('B', utf8(`${OWN_NAME}\0${OWN_NAME}\0\0\0\0\0\0\0`)),
    message('E', utf8(`${OWN_NAME}\0\0\0\0\0`)),
    // What stands before it is passed over after an error.
    SYNC,
    message('C', utf8(`S${OWN_NAME}\0`)),
    // In a transaction it would last until its end.
    message('C', utf8(`P${OWN_NAME}\0`)),
    SYNC,
  ])
}

/**
 * Ends a COPY, a pipeline without Sync, a transaction in any state: CopyFail (ignored elsewhere),
 * an Execute that must fail (an error is what aborts an implicit transaction), Sync, ROLLBACK. The
 * answer is full of errors and of no interest; the status afterwards is idle.
 */
export const ABORT: Uint8Array = concatBytes([
  message('f', utf8('client gone\0')),
  message('E', utf8('_pgnap_no_such_portal\0\0\0\0\0')),
  SYNC,
  ownQuery('ROLLBACK'),
])

/** Forgets everything of a session. A simple query, since its unnamed statement must go as well. */
export const DISCARD_ALL: Uint8Array = message('Q', utf8('DISCARD ALL\0'))

/** Forgets the unnamed statement, if there is one. */
export const CLOSE_UNNAMED: Uint8Array = concatBytes([message('C', utf8('S\0')), SYNC])

/** What Postgres said to a query of the pool. */
export interface QueryAnswer {
  readonly rows: readonly Row[]
  /** Message and SQLSTATE if it refused. */
  readonly refusal: string | undefined
}

/** Reads the answer of {@link ownQuery}; values as text. */
export function readAnswer(answer: Uint8Array): QueryAnswer {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  const rows: Row[] = []
  let refusal: string | undefined
  eachMessage(answer, (type, at, end) => {
    if (type === 0x44) rows.push(rowOf(view, answer, at + 5))
    if (type === 0x45) refusal ??= refusalOf(answer.subarray(at + 5, end))
  })
  return { rows, refusal }
}

function rowOf(view: DataView, answer: Uint8Array, start: number): Row {
  const row: (string | null)[] = []
  let at = start + 2
  for (let column = view.getInt16(start); column > 0; column--) {
    const byteCount = view.getInt32(at)
    at += 4
    row.push(byteCount < 0 ? null : fromUtf8(answer.subarray(at, at + byteCount)))
    at += Math.max(byteCount, 0)
  }
  return row
}

export interface BackendError {
  readonly severity: string
  readonly message: string
  readonly sqlState: string
}

/** The first error in an answer. */
export function firstError(answer: Uint8Array): BackendError | undefined {
  return errorsIn(answer)[0]
}

/** The error in an answer that ends its session. It is ours: with Postgres's own all would end. */
export function fatalError(answer: Uint8Array): BackendError | undefined {
  return errorsIn(answer).findLast(({ severity }) => severity === 'FATAL')
}

function errorsIn(answer: Uint8Array): BackendError[] {
  const errors: BackendError[] = []
  eachMessage(answer, (type, at, end) => {
    if (type === 0x45) errors.push(errorOf(answer.subarray(at + 5, end)))
  })
  return errors
}

function refusalOf(body: Uint8Array): string {
  const { message, sqlState } = errorOf(body)
  return `${message} (${sqlState})`
}

function errorOf(body: Uint8Array): BackendError {
  const fields = new Map<string, string>()
  for (const field of fromUtf8(body).split('\0')) {
    if (field !== '') fields.set(field.charAt(0), field.slice(1))
  }
  const { V = '', M = 'unknown error', C = 'no SQLSTATE' } = Object.fromEntries(fields)
  return { severity: V, message: M, sqlState: C }
}
