/**
 * Whether anybody has said something that nobody has read yet, asked of the kernel for all
 * connections of a shard in one call. While the shard's thread is held by one statement it reads
 * nothing, so whatever is unread waits for that statement.
 *
 * A client that has ended its side is passed over: the end itself counts as unread for ever, and a
 * connection that has gone waits for nothing.
 */
import { withoutWarning } from './descriptors.ts'

/** Whether any of these has unread bytes. */
export type AskUnread = (descriptors: readonly number[]) => boolean

/** struct pollfd: descriptor, what is asked for, what is so. */
const POLLFD_BYTES = 8
const EVENTS_AT = 4
const RETURNED_AT = 6
/** Linux's. */
const POLL_IN = 0x01
const POLL_ENDED = 0x08 | 0x10 | 0x20 | 0x2000
const POLL_READ_HANG_UP = 0x2000

/** `poll(2)`, where it can tell bytes from an end and this Node can call it. */
export function loadAskUnread(): AskUnread | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { poll } = withoutWarning(() => process.getBuiltinModule('node:ffi')).dlopen(null, {
      poll: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
    }).functions
    const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
    return (descriptors) => {
      if (descriptors.length === 0) return false
      const request = new DataView(new ArrayBuffer(descriptors.length * POLLFD_BYTES))
      for (const [index, descriptor] of descriptors.entries()) {
        const at = index * POLLFD_BYTES
        request.setInt32(at, descriptor, isLittleEndian)
        request.setInt16(at + EVENTS_AT, POLL_IN | POLL_READ_HANG_UP, isLittleEndian)
      }
      if (poll(request.buffer, BigInt(descriptors.length), 0) <= 0) return false
      return descriptors.some((_, index) => {
        const returned = request.getInt16(index * POLLFD_BYTES + RETURNED_AT, isLittleEndian)
        return (returned & POLL_IN) !== 0 && (returned & POLL_ENDED) === 0
      })
    }
  } catch {
    // As with `dup(2)`: then nobody can tell who waits.
    return undefined
  }
}
