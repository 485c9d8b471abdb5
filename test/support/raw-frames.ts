/** Frames of a WebSocket as no library would send them. */
import type { Socket } from 'node:net'
import type WebSocket from 'ws'

/** What lies under a WebSocket. */
export function rawSocketOf(socket: WebSocket): Socket {
  return (socket as unknown as { readonly _socket: Socket })._socket
}

/** Says that a masked binary frame of so many bytes begins; they may follow. */
export function claimFrame(socket: WebSocket, byteLength: number): Socket {
  const raw = rawSocketOf(socket)
  const head = Buffer.alloc(14)
  head.writeUInt16BE(0x82ff)
  head.writeBigUInt64BE(BigInt(byteLength), 2)
  raw.write(head)
  return raw
}
