/**
 * The end of a COPY FROM STDIN whose data nobody sends. Postgres asks for it in the middle of a
 * statement, where a client of a server would be waited for. The front collects data beforehand
 * (`copy-plan.ts`), but a call over HTTP has none, and no text can be read ahead with certainty:
 * without an end Postgres takes the client for gone, and the backend ends with all sessions in it.
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import { eachMessage } from '../base/message-frames.ts'
import { message, SYNC } from '../base/protocol-message.ts'

const COPY_IN_RESPONSE = 0x47
const COMMAND_COMPLETE = 0x43
const ERROR_RESPONSE = 0x45
const SYNC_TYPE = 0x53
const COPY_FAIL = message('f', utf8('no data was sent with the statement\0'))

/**
 * What Postgres is to read next, when it has read all of `request` and answered `answer` so far.
 * Undefined: it is in no COPY, and waits for nothing that could be given.
 */
export function copyEnd(request: Uint8Array, answer: Uint8Array): Uint8Array | undefined {
  let isCopying = false
  eachMessage(answer, (type) => {
    if (type === COPY_IN_RESPONSE) isCopying = true
    else if (type === COMMAND_COMPLETE || type === ERROR_RESPONSE) isCopying = false
  })
  if (!isCopying) return undefined
  let last: number | undefined
  eachMessage(request, (type) => (last = type))
  // A Sync behind it was read as a part of the data, and skipped.
  return last === SYNC_TYPE ? concatBytes([COPY_FAIL, SYNC]) : COPY_FAIL
}
