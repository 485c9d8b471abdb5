/**
 * The frame of the protocol: one type byte, a length that counts itself, a body. Everything here
 * works on offsets into borrowed bytes and makes no objects, because it runs for every message of
 * every client. Numbers on the wire are big-endian.
 *
 * Nothing here decides what a message means, and nothing may read outside the bytes it was given.
 */

/** Type bytes of messages that a client sends. */
export const FRONTEND = {
  bind: 0x42,
  close: 0x43,
  copyData: 0x64,
  copyDone: 0x63,
  copyFail: 0x66,
  describe: 0x44,
  execute: 0x45,
  flush: 0x48,
  functionCall: 0x46,
  parse: 0x50,
  password: 0x70,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
} as const

/** Type bytes of messages that a server sends. */
export const BACKEND = {
  authentication: 0x52,
  backendKeyData: 0x4b,
  bindComplete: 0x32,
  closeComplete: 0x33,
  commandComplete: 0x43,
  copyInResponse: 0x47,
  copyOutResponse: 0x48,
  dataRow: 0x44,
  emptyQueryResponse: 0x49,
  errorResponse: 0x45,
  negotiateProtocolVersion: 0x76,
  noData: 0x6e,
  noticeResponse: 0x4e,
  notificationResponse: 0x41,
  parameterDescription: 0x74,
  parameterStatus: 0x53,
  parseComplete: 0x31,
  portalSuspended: 0x73,
  readyForQuery: 0x5a,
  rowDescription: 0x54,
} as const

/** Bytes of a type byte and a length. */
export const FRAME_HEAD_BYTES = 5

/** The signed 32-bit number at `at`; the caller has checked that four bytes are there. */
export function int32At(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  )
}

/** The signed 16-bit number at `at`; the caller has checked that two bytes are there. */
export function int16At(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) << 24) >> 16) | (bytes[at + 1] as number)
}

/**
 * A copy of the part [start, end). Hosts lend Buffers, and the `slice` of a Buffer copies nothing:
 * it would be a view of bytes that somebody else is about to overwrite.
 */
export function copyBytes(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(start, end))
}

/**
 * Offset after the frame at `at` if the whole frame lies before `end`, else -1. A length below 4
 * gives
 * -1 as well: bytes of a backend never have one, and bytes of a client are checked before.
 */
export function frameEnd(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < FRAME_HEAD_BYTES) return -1
  const length = int32At(bytes, at + 1)
  return length < 4 || length > end - at - 1 ? -1 : at + 1 + length
}

/** Offset of the first frame of `type` in whole backend messages, or -1. */
export function findFrame(messages: Uint8Array, type: number): number {
  let at = 0
  for (;;) {
    const next = frameEnd(messages, at, messages.length)
    if (next < 0) return -1
    if (messages[at] === type) return at
    at = next
  }
}

/** Whether the backend skips till Sync after `answer`: an error without ReadyForQuery behind it. */
export function endsAborted(answer: Uint8Array, before: boolean): boolean {
  let aborted = before
  let at = 0
  for (;;) {
    const next = frameEnd(answer, at, answer.length)
    if (next < 0) return aborted
    const type = answer[at]
    if (type === BACKEND.errorResponse) aborted = true
    else if (type === BACKEND.readyForQuery) aborted = false
    at = next
  }
}

/** The part [start, end) of `bytes`; `bytes` itself when that is all of it. */
export function partOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end)
}
