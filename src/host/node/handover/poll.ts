/** Asking the kernel about connections without reading them: `poll(2)`, by way of `node:ffi`. */
import { linkedFunctions } from '../ffi.ts'

/**
 * What is so of each descriptor, of `events` and of what is always told, as the kernel's bits. It
 * does not wait.
 */
export type Poll = (descriptors: readonly number[], events: number) => readonly number[]

/** Bits of Linux. */
export const POLL = { in: 0x01, error: 0x08, hangUp: 0x10, invalid: 0x20, readHangUp: 0x2000 }

/** struct pollfd: descriptor, what is asked for, what is so. */
const POLLFD_BYTES = 8
const EVENTS_AT = 4
const RETURNED_AT = 6

/** Undefined where it cannot tell bytes from an end, or this Node cannot call it. */
export function loadPoll(): Poll | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { poll } = linkedFunctions({
      poll: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
    })
    const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
    return (descriptors, events) => {
      const request = new DataView(new ArrayBuffer(descriptors.length * POLLFD_BYTES))
      for (const [index, descriptor] of descriptors.entries()) {
        request.setInt32(index * POLLFD_BYTES, descriptor, isLittleEndian)
        request.setInt16(index * POLLFD_BYTES + EVENTS_AT, events, isLittleEndian)
      }
      const isTold = poll(request.buffer, BigInt(descriptors.length), 0) > 0
      return descriptors.map((_, index) =>
        isTold ? request.getInt16(index * POLLFD_BYTES + RETURNED_AT, isLittleEndian) : 0,
      )
    }
  } catch {
    // As with `dup(2)`: whoever would ask does without.
    return undefined
  }
}
