/** Walks over whole messages of the Postgres protocol, of either side. */
import { assert } from './assert.ts'

const SYNC = 0x53
const PARSE = 0x50
const BIND = 0x42
const QUERY = 0x51
const FUNCTION_CALL = 0x46
const COPY_DATA = 0x64
const COPY_DONE = 0x63
const COPY_FAIL = 0x66
const HEAD_BYTES = 5
const NOTHING = new Uint8Array(0)

/** Calls `visit` with the type of each message, where it begins and where it ends. */
export function eachMessage(
  bytes: Uint8Array,
  visit: (type: number | undefined, at: number, end: number) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 1 + view.getInt32(at + 1)
    assert(end > at + 4 && end <= bytes.length, 'messages are whole')
    visit(bytes[at], at, end)
    at = end
  }
}

/**
 * A client's batch in pieces that end with ReadyForQuery each, and a rest that may not. The data of
 * a COPY stays with its query: a backend cannot wait for it.
 */
export function piecesOf(messages: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let start = 0
  let ended = false
  eachMessage(messages, (type, at) => {
    const isCopy = type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL
    if (ended && !isCopy) {
      pieces.push(messages.subarray(start, at))
      start = at
    }
    ended = type === SYNC || type === QUERY || type === FUNCTION_CALL || (ended && isCopy)
  })
  pieces.push(messages.subarray(start))
  return pieces
}

/** The text of the first statement of a batch; empty: it was prepared before. */
export function statementIn(messages: Uint8Array): Uint8Array {
  let first: Uint8Array | undefined
  eachMessage(messages, (type, at) => {
    if (first) return
    let from = at + HEAD_BYTES
    if (type === PARSE) from = messages.indexOf(0, from) + 1
    if (type === PARSE || type === QUERY) first = messages.subarray(from, messages.indexOf(0, from))
    else if (type === BIND) first = NOTHING
  })
  return first ?? NOTHING
}
