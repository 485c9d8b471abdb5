/**
 * TLS on the Postgres port: turns an accepted socket into one that speaks TLS, in the main thread.
 *
 *     socket, paused ---- secure() ----> handshake ---- onSecure(inside) ----> startup packet
 *                                            \---- failed, too slow, gone ----> closed
 *
 * The clients have proven nothing. A handshake is bounded in time by the caller's deadline, and in
 * bytes by OpenSSL, which takes one ClientHello (128 KiB) and a Finished. What fails in it is the
 * client's affair: closed, told to the log at `debug`, and to nobody else.
 *
 * A `tls.Server` that never listens does the work, because only with one behind it a socket of Node
 * tells of an error after the handshake.
 */
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import { Handshakes } from './handshakes.ts'
import type { Identity } from './identity.ts'

/** The name of the Postgres protocol in ALPN (IANA). */
const ALPN_POSTGRES = 'postgresql'

export interface WireTlsOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly log: Log
}

export interface SecureOptions {
  /** What a client sent before it was known that it speaks TLS: the beginning of its ClientHello */
  readonly initialBytes?: Uint8Array
  /**
   * TLS from the first byte on. ALPN then is a must: without, another protocol's client could be
   * led here and talk to us in words of its attacker (ALPACA).
   */
  readonly isDirect: boolean
  /** Beyond: the connection is closed. */
  readonly timeoutMs: number
}

interface Handshake {
  readonly isDirect: boolean
  readonly onSecure: (inside: TLSSocket) => void
}

export class WireTls {
  readonly #clock: Clock
  readonly #log: Log
  readonly #server: Server
  readonly #handshakes = new Handshakes<Handshake>()

  constructor({ identity, clock, log }: WireTlsOptions) {
    this.#clock = clock
    this.#log = log
    const settings = {
      ALPNProtocols: [ALPN_POSTGRES],
      // As in Postgres: it serves nobody, and costs the server more than the client.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    } as const
    this.#server = createServer({ ...identity.context, ...settings })
    identity.onRenewed((context) => this.#server.setSecureContext({ ...context, ...settings }))
    this.#server.on('secureConnection', (inside: TLSSocket) => this.#secured(inside))
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, inside: TLSSocket) => {
      this.#log.debug('a TLS handshake failed', { reason: error.code ?? error.message })
      inside.destroy()
    })
  }

  /**
   * Speaks TLS over `socket`, which has no listeners left. Calls `onSecure` once with the socket
   * inside, or never and closes it.
   */
  secure(socket: Socket, options: SecureOptions, onSecure: Handshake['onSecure']): void {
    const { initialBytes, isDirect, timeoutMs } = options
    const timer = this.#clock.setTimer(timeoutMs, () => socket.destroy())
    socket.once('close', () => timer.cancel())
    const handshake: Handshake = {
      isDirect,
      onSecure: (inside) => {
        timer.cancel()
        onSecure(inside)
      },
    }
    if (!this.#handshakes.begin(socket, handshake)) {
      timer.cancel()
      socket.destroy()
      return
    }
    // A client that ends in the middle of its handshake has nothing to wait for.
    socket.allowHalfOpen = false
    if (initialBytes) socket.unshift(initialBytes)
    this.#server.emit('connection', socket)
  }

  #secured(inside: TLSSocket): void {
    // Node says that a record was wrong, and leaves the connection as it is: neither end closes it.
    inside.on('error', () => inside.destroy())
    const handshake = this.#handshakes.end(inside)
    if (!handshake) {
      inside.destroy()
      return
    }
    if (handshake.isDirect && inside.alpnProtocol !== ALPN_POSTGRES) {
      this.#log.debug('a TLS handshake failed', { reason: 'direct TLS without ALPN postgresql' })
      inside.destroy()
      return
    }
    handshake.onSecure(inside)
  }
}
