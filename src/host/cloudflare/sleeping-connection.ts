/**
 * A client of the Postgres protocol inside of a WebSocket that may sleep: while nobody says
 * anything, the platform keeps the socket and puts the object away. What the connection is to
 * pgnap stays in the isolate's memory (`TenantRuntime`), and is given the socket again with each
 * event, since the object of a new life has other ones.
 *
 * A message is a piece of a stream: bytes may be split among them in any way.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { errorResponse } from '../../base/error-message.ts'
import { WireConnection, type WireConnectionOptions } from '../../front/wire/connection.ts'
import type { Link } from '../../front/wire/link.ts'

/** Status codes of a Close frame (RFC 6455, section 7.4.1). */
const CLOSE = { normal: 1000, unsupportedData: 1003, tooBig: 1009, tryAgain: 1013 } as const

/** What the platform keeps with a socket: which connection it is, of which memory. */
export interface SocketTag {
  readonly processId: number
  readonly epoch: string
}

/** What was kept with a socket; undefined for one that has only just come. */
export function tagOf(socket: WebSocket): SocketTag | undefined {
  return (socket.deserializeAttachment() as SocketTag | null) ?? undefined
}

export class SleepingConnection {
  readonly #connection: WireConnection
  readonly #link: SocketLink

  constructor(socket: WebSocket, options: Omit<WireConnectionOptions, 'link'>) {
    this.#link = new SocketLink(socket, (bytes) => this.#connection.receive(bytes))
    this.#connection = new WireConnection({ ...options, link: this.#link })
  }

  /** @param socket the one of this connection, as the object has it now */
  receive(socket: WebSocket, message: ArrayBuffer | string): void {
    this.#link.rebind(socket)
    if (typeof message === 'string') {
      this.#link.refuse(CLOSE.unsupportedData, 'send the Postgres protocol in binary frames')
      return this.#connection.linkClosed()
    }
    this.#link.receive(new Uint8Array(message))
  }

  /** The client has closed it, or it broke. */
  closed(): void {
    this.#link.forget()
    this.#connection.linkClosed()
  }

  /** Ends it with a FATAL error, after what is in flight. */
  shutdown(error: PgnapError): void {
    this.#connection.shutdown(error)
  }
}

/** Tells the client of a socket whose connection has gone with its memory, and closes it. */
export function endOrphan(socket: WebSocket): void {
  const error = new PgnapError('SLOT_LOST', 'the session of this connection could not be kept', {
    detail: 'nobody used it for a while, and the memory that it was in is gone',
    hint: 'connect again: what was acknowledged is safe',
  })
  const link = new SocketLink(socket, () => {})
  link.write(errorResponse(error, 'FATAL'))
  link.refuse(CLOSE.tryAgain, 'connect again')
}

class SocketLink implements Link {
  /** The platform takes whatever it is given. */
  readonly bufferedBytes = 0
  #socket: WebSocket | undefined
  readonly #deliver: (bytes: Uint8Array) => void
  /** What has come while nobody wanted to read. */
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #isPaused = false

  constructor(socket: WebSocket, deliver: (bytes: Uint8Array) => void) {
    this.#socket = socket
    this.#deliver = deliver
  }

  rebind(socket: WebSocket): void {
    if (this.#socket) this.#socket = socket
  }

  forget(): void {
    this.#socket = undefined
    this.#waiting = []
  }

  receive(bytes: Uint8Array): void {
    if (!this.#isPaused) return this.#deliver(bytes)
    this.#waitingBytes += bytes.length
    // There is no way to slow a client down.
    if (this.#waitingBytes > LIMITS.isolateAheadBytesMax) {
      return this.refuse(CLOSE.tooBig, 'too much was sent ahead of its answers')
    }
    this.#waiting.push(bytes)
  }

  write(bytes: Uint8Array): void {
    // The bytes are lent, and the platform keeps a message until it is sent.
    if (bytes.length > 0) this.#attempt((socket) => socket.send(new Uint8Array(bytes)))
  }

  end(lastBytes?: Uint8Array): void {
    if (lastBytes) this.write(lastBytes)
    this.refuse(CLOSE.normal, '')
  }

  destroy(): void {
    this.refuse(CLOSE.normal, '')
  }

  pauseReading(): void {
    this.#isPaused = true
  }

  resumeReading(): void {
    this.#isPaused = false
    while (!this.#isPaused) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#waitingBytes -= next.length
      this.#deliver(next)
    }
  }

  refuse(code: number, reason: string): void {
    this.#attempt((socket) => socket.close(code, reason))
    this.forget()
  }

  /** A socket that is closed already takes nothing any more: its close event follows. */
  #attempt(action: (socket: WebSocket) => void): void {
    const socket = this.#socket
    if (socket?.readyState === WebSocket.OPEN) action(socket)
  }
}
