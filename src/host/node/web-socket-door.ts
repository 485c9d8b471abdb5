/**
 * `/v2`: the Postgres protocol inside of WebSockets, as Neon's serverless driver speaks it. Decides
 * which requests become one, and gives its bytes to the wire, where all else is as over TCP.
 *
 *   request --> our path? --> Host, Origin --> WebSocket --> stream --> as a connection of TCP
 *                  |              |
 *                  +--------------+--> an ordinary request, which HTTP refuses in its own words
 *
 * It must never open a WebSocket before Host and Origin were looked at: no browser asks first, as
 * it does for other requests of foreign pages (docs/decisions/0004).
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { WebSocketServer } from 'ws'
import type { Clock, Timer } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import { WEB_SOCKET_PATH } from '../../front/http/app.ts'
import { type GuardOptions, checkAsker, hostName } from '../../front/http/guard.ts'
import type { WebSocketAccounts, WebSocketStream } from './web-socket-stream.ts'
import { peerOf, type WireListener } from './wire-listener.ts'

export interface WebSocketDoorOptions {
  readonly guard: GuardOptions
  readonly accept: WireListener['accept']
  /** What the thread holds for clients that have proven who they are. */
  readonly held: HeldBytes
  readonly clock: Clock
  readonly log: Log
}

/** The code for WebSockets, loaded when the first one comes: most servers never see one. */
interface Library {
  readonly server: WebSocketServer
  readonly Stream: typeof WebSocketStream
}

export class WebSocketDoor {
  readonly #options: WebSocketDoorOptions
  readonly #check: ReturnType<typeof checkAsker>
  readonly #streams = new Set<WebSocketStream>()
  readonly #accounts: WebSocketAccounts
  #library: Promise<Library> | undefined
  #pulse: Timer | undefined
  #isClosed = false

  constructor(options: WebSocketDoorOptions) {
    this.#options = options
    this.#check = checkAsker(options.guard)
    const unproven = new HeldBytes(LIMITS.webSocketUnprovenTotalBytesMax)
    this.#accounts = { unproven, proven: options.held }
  }

  /** Whether this request is to become a WebSocket. */
  isWanted({ url = '', headers }: IncomingMessage): boolean {
    const [path = ''] = url.split('?', 1)
    if (path !== WEB_SOCKET_PATH || headers.upgrade?.toLowerCase() !== 'websocket') return false
    try {
      this.#check({ host: headers.host ?? '', origin: headers.origin, path })
      return true
    } catch (error) {
      if (error instanceof PgnapError) return false
      throw error
    }
  }

  /** Takes over the socket of an upgrade request. */
  open(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // Node before 24.9 asks nobody whether a request is wanted.
    if (!this.isWanted(request)) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
      return
    }
    socket.on('error', () => {})
    // Read once and kept, as for TCP.
    const serverName = hostName(request.headers.host ?? '')
    const named = serverName === undefined ? {} : { serverName }
    const peer = { ...peerOf(socket), ...named, webSocket: true }
    this.#library ??= loadLibrary()
    this.#library.then(
      ({ server, Stream }) =>
        server.handleUpgrade(request, socket, head, (webSocket) => {
          if (this.#isClosed) return webSocket.terminate()
          const stream = new Stream({
            webSocket,
            socket,
            headBytes: head.length,
            accounts: this.#accounts,
            owner: peer.address,
            clock: this.#options.clock,
          })
          this.#keep(stream)
          this.#options.accept(stream, peer)
        }),
      (error: unknown) => {
        this.#options.log.error('the code for WebSockets cannot be loaded', { error })
        socket.destroy()
      },
    )
  }

  /** Ends what is left. Whoever had something to say to its client has said it. */
  close(): void {
    this.#isClosed = true
    this.#pulse?.cancel()
    for (const stream of this.#streams) stream.destroy()
  }

  #keep(stream: WebSocketStream): void {
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    this.#pulse ??= this.#nextPulse()
  }

  #nextPulse(): Timer {
    return this.#options.clock.setTimer(LIMITS.webSocketPingMs, () => {
      for (const stream of this.#streams) stream.checkPulse()
      this.#pulse = this.#streams.size > 0 ? this.#nextPulse() : undefined
    })
  }
}

async function loadLibrary(): Promise<Library> {
  const [ws, { WebSocketStream }] = await Promise.all([
    import('ws'),
    import('./web-socket-stream.ts'),
  ])
  const server = new ws.WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // The bytes are no text.
    skipUTF8Validation: true,
    maxPayload: LIMITS.messageBytesMax,
  })
  return { server, Stream: WebSocketStream }
}
