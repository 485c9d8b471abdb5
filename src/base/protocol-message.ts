/** Messages of the Postgres protocol, as a client sends them after its startup packet. */
import { assert } from './assert.ts'

/** One frontend message. @param type its letter */
export function message(type: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  assert(type.length === 1, 'a message type is one byte')
  const bytes = new Uint8Array(5 + body.length)
  bytes[0] = type.charCodeAt(0)
  new DataView(bytes.buffer).setInt32(1, 4 + body.length)
  bytes.set(body, 5)
  return bytes
}

/** Ends a pipeline: everything up to it is answered. */
export const SYNC: Uint8Array = message('S', new Uint8Array(0))
