/**
 * The connections of a TLS server that have not shaken hands yet. Node tells of a connection when
 * it comes and of a secure one when it is made, and not which became which; the four numbers of a
 * TCP connection do.
 */
import type { Socket } from 'node:net'

export class Handshakes<Value> {
  readonly #entries = new Map<string, { readonly socket: Socket; readonly value: Value }>()

  /** False for a socket that is not connected any more. */
  begin(socket: Socket, value: Value): boolean {
    const name = nameOf(socket)
    if (name === undefined || socket.destroyed) return false
    const entry = { socket, value }
    this.#entries.set(name, entry)
    socket.once('close', () => {
      // The next connection may have the same numbers and be here already.
      if (this.#entries.get(name) === entry) this.#entries.delete(name)
    })
    return true
  }

  /** What was said of the connection that is `inside` now; undefined if it was reset meanwhile. */
  end(inside: Socket): Value | undefined {
    const name = nameOf(inside)
    if (name === undefined) return undefined
    const entry = this.#entries.get(name)
    this.#entries.delete(name)
    return entry?.value
  }

  /** Closes all that are here. */
  destroy(): void {
    for (const { socket } of this.#entries.values()) socket.destroy()
  }
}

function nameOf(socket: Socket): string | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
