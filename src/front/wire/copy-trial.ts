/**
 * A trial tells what only the backend knows of a COPY FROM STDIN before its data is there: whether
 * the table exists and how many columns it has. The statement is run and failed at once by
 * CopyFail, so it reads no row and leaves nothing; inside a transaction a savepoint keeps that
 * failure from the client's own work.
 *
 * Never try a COPY that shares its Query with other statements: they would run, too.
 */
import { concatBytes } from '../../base/bytes.ts'
import type { TransactionStatus } from '../../router/gateway.ts'
import { copyFail } from './copy-collector.ts'
import { BACKEND, frameEnd } from './frame.ts'
import { queryMessage } from './result.ts'

const FAIL = copyFail('a trial by pgnap')
const SAVE = queryMessage('SAVEPOINT pgnap_copy_trial')
const RESTORE = queryMessage(
  'ROLLBACK TO SAVEPOINT pgnap_copy_trial;RELEASE SAVEPOINT pgnap_copy_trial',
)

/** `head` (a Query) without data. For COPYs that are known to fail, or outside of a transaction. */
export function trialAlone(head: Uint8Array): Uint8Array {
  return concatBytes([head, FAIL])
}

/** `head` (a Query with one COPY) tried without a trace, whatever the status. */
export function copyTrial(head: Uint8Array, status: TransactionStatus): Uint8Array {
  return status === 'idle' ? trialAlone(head) : concatBytes([SAVE, head, FAIL, RESTORE])
}

/** Hands on `messages` without those of `type`, in as few parts as possible. */
export function writeWithoutFrames(
  messages: Uint8Array,
  type: number,
  write: (part: Uint8Array) => void,
): void {
  let partStart = 0
  let at = 0
  for (;;) {
    const next = frameEnd(messages, at, messages.length)
    if (next < 0) break
    if (messages[at] === type) {
      if (at > partStart) write(messages.subarray(partStart, at))
      partStart = next
    }
    at = next
  }
  if (partStart < messages.length) write(messages.subarray(partStart))
}

/** Hands on what is for the client whatever it asked: notifications and changed settings. */
export function writeAsynchronous(messages: Uint8Array, write: (part: Uint8Array) => void): void {
  let at = 0
  for (;;) {
    const next = frameEnd(messages, at, messages.length)
    if (next < 0) return
    const type = messages[at]
    if (type === BACKEND.notificationResponse || type === BACKEND.parameterStatus) {
      write(messages.subarray(at, next))
    }
    at = next
  }
}
