/**
 * The few things about a `net.Socket` that Node keeps to itself and that a handover cannot do
 * without, each behind a check, in one file. If a future Node hides them, `descriptorOf` says
 * undefined, and the connection goes over the ring instead: slower, never wrong.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** What libuv's stream handle offers; see lib/net.js and src/stream_base.cc of Node. */
interface StreamHandle {
  readonly fd: number
  /** Node's own note of whether `readStart` is in effect. */
  reading: boolean
  /** Bytes that the kernel has not taken. */
  readonly writeQueueSize: number
  /** Of TLS: the connection's own handle, which has a queue of what is encrypted already. */
  readonly _parent?: { readonly writeQueueSize?: number } | null
  readStart(): number
  readStop(): number
}

/**
 * The descriptor under `socket`, or undefined if it has none of its own (TLS, closed, not Unix).
 */
export function descriptorOf(socket: Duplex): number | undefined {
  if ('encrypted' in socket) return undefined
  const handle = handleOf(socket)
  return handle !== undefined && handle.fd >= 0 ? handle.fd : undefined
}

/**
 * Takes what `socket` has read and stops it from reading more, for as long as its connection is
 * read by somebody else. Streams like to start reading again by themselves after a while; the
 * handle's note is left at `true` so that they believe they already do.
 */
export function parkReading(socket: Duplex): Buffer[] {
  socket.pause()
  const chunks: Buffer[] = []
  for (;;) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) break
    chunks.push(chunk)
  }
  const handle = handleOf(socket)
  if (handle) {
    handle.readStop()
    handle.reading = true
  }
  return chunks
}

/** Undoes {@link parkReading}. */
export function unparkReading(socket: Duplex): void {
  handleOf(socket)?.readStart()
}

/** Bytes that have been read from the connection of `socket`. */
export function readBytesOf(socket: Duplex): number {
  return (socket as Partial<Socket>).bytesRead ?? 0
}

/** Bytes written to `socket` that the kernel has not taken; falls while one long write proceeds. */
export function unsentBytes(socket: Duplex): number {
  const handle = handleOf(socket)
  if (!handle) return socket.writableLength
  return handle.writeQueueSize + (handle._parent?.writeQueueSize ?? 0)
}

function handleOf(socket: Duplex): StreamHandle | undefined {
  const handle = (socket as unknown as { readonly _handle?: Partial<StreamHandle> | null })._handle
  if (!handle || typeof handle.fd !== 'number') return undefined
  return typeof handle.readStop === 'function' ? (handle as StreamHandle) : undefined
}
