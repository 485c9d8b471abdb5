/**
 * The end of a transaction that has failed and is open nowhere (`floating-transaction.ts`). Nothing
 * of it is left but that its client has to say ROLLBACK, so that needs no backend, and does not
 * wait for one: another client may keep it for hours.
 *
 * Only what is said in one of the usual ways is answered here. Whatever else is said in such a
 * transaction is Postgres's to refuse.
 */
import { concatBytes, textAt, utf8 } from '../base/bytes.ts'
import { eachMessage } from '../base/message-frames.ts'
import { message } from '../base/protocol-message.ts'
import type { SaidStatements } from './reading-batch.ts'

const ENDS =
  /^\s*(?:rollback|abort|commit|end)(?:\s+(?:work|transaction))?(?:\s+and\s+no\s+chain)?\s*;?\s*$/i
/** Longer than any of them is written. */
const TEXT_BYTES_MAX = 100
const NOTHING = new Uint8Array(0)
const TYPE_BYTES = 5

const ROLLED_BACK: Uint8Array = message('C', utf8('ROLLBACK\0'))
const READY: Uint8Array = message('Z', utf8('I'))
const ANSWERS: Readonly<Record<string, Uint8Array>> = {
  Q: concatBytes([ROLLED_BACK, READY]),
  P: message('1', NOTHING),
  B: message('2', NOTHING),
  D: message('n', NOTHING),
  E: ROLLED_BACK,
  S: READY,
}
/** The ways to say it: a simple query, or all in one by the unnamed statement and portal. */
const WAYS: ReadonlySet<string> = new Set(['Q', 'PBDES', 'PBES'])
/** No name, no parameters, no formats; of a portal; all rows. */
const BODIES: Readonly<Record<string, readonly number[]>> = {
  D: [0x50, 0],
  E: [0, 0, 0, 0, 0],
  S: [],
}

export interface EndedTransaction {
  readonly answer: Uint8Array
  /** What has become of the unnamed statement. */
  readonly said: SaidStatements
}

/** What a batch comes to in a transaction that has failed; undefined: it is none that ends it. */
export function endOfFailed(messages: Uint8Array): EndedTransaction | undefined {
  let way = ''
  let isUsual = true
  const answers: Uint8Array[] = []
  const said: SaidStatements = new Map()
  eachMessage(messages, (code = 0, at, end) => {
    const type = String.fromCharCode(code)
    const body = messages.subarray(at + TYPE_BYTES, end)
    way += type
    answers.push(ANSWERS[type] ?? NOTHING)
    isUsual &&= isExpected(type, body)
    if (type === 'Q') said.set('', undefined)
    if (type === 'P') said.set('', new Uint8Array(messages.subarray(at, end)))
  })
  if (!isUsual || !WAYS.has(way)) return undefined
  return { answer: concatBytes(answers), said }
}

function isExpected(type: string, body: Uint8Array): boolean {
  if (type === 'Q') return ends(body)
  if (type === 'P') {
    // Without types of parameters.
    const { length } = body
    return (
      body[0] === 0 && body[length - 1] === 0 && body[length - 2] === 0 && ends(body.subarray(1))
    )
  }
  // Formats may be said for any number of columns; there are none.
  if (type === 'B') return body[0] === 0 && body[1] === 0 && hasNoParameters(body)
  const expected = BODIES[type]
  return expected?.length === body.length && expected.every((byte, index) => body[index] === byte)
}

function ends(body: Uint8Array): boolean {
  return body.length <= TEXT_BYTES_MAX && ENDS.test(textAt(body, 0))
}

function hasNoParameters(body: Uint8Array): boolean {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  return body.length >= 8 && view.getInt16(2) === 0 && view.getInt16(4) === 0
}
