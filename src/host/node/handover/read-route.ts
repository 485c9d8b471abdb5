/**
 * The first bytes of a new connection, up to the point where it is known where the connection
 * belongs. Runs in the main thread for clients that have proven nothing, so everything is bounded:
 * bytes, time, and what is kept of them.
 *
 * What the bytes mean is not known here: `peek` says.
 */
import type { Duplex } from 'node:stream'
import { concatBytes } from '../../../base/bytes.ts'
import type { Clock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import { NO_BYTES } from './protocol.ts'

/**
 * What the bytes so far say. Undefined: not enough yet. `reply`: send this, take `consumedBytes`
 * away and look again (a client that asks for TLS and is told no). `refuse`: send this and close.
 */
export type Peeked<Route> =
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'reply'; readonly reply: Uint8Array; readonly consumedBytes: number }
  | { readonly kind: 'refuse'; readonly lastBytes: Uint8Array }
  | undefined

export interface ReadRouteOptions<Route> {
  readonly socket: Duplex
  readonly clock: Clock
  readonly peek: (bytes: Uint8Array) => Peeked<Route>
  /** Beyond: the connection is closed. Default `LIMITS.authenticationMs`. */
  readonly timeoutMs?: number
  /** Beyond, without a route: the connection is closed. Default `LIMITS.startupPacketBytesMax`. */
  readonly bytesMax?: number
}

/**
 * Calls `onRoute` once with the route and all bytes that are not consumed, with reading paused and
 * no listener left but one for errors; or never, if the connection ends before.
 */
export function readRoute<Route>(
  options: ReadRouteOptions<Route>,
  onRoute: (route: Route, initialBytes: Uint8Array) => void,
): void {
  const { socket, clock, peek } = options
  const bytesMax = options.bytesMax ?? LIMITS.startupPacketBytesMax
  let bytes: Uint8Array = NO_BYTES
  // A client that half-closes right after its first words is still to be answered.
  socket.allowHalfOpen = true
  const timer = clock.setTimer(options.timeoutMs ?? LIMITS.authenticationMs, () => socket.destroy())
  const stop = (): void => {
    timer.cancel()
    socket.pause()
    socket.off('data', read).off('end', ended).off('close', stop)
  }
  const ended = (): void => {
    stop()
    socket.destroy()
  }
  const read = (chunk: Uint8Array): void => {
    bytes = bytes.length === 0 ? chunk : concatBytes([bytes, chunk])
    for (;;) {
      const peeked = peek(bytes)
      if (peeked?.kind === 'reply') {
        socket.write(peeked.reply)
        bytes = bytes.subarray(peeked.consumedBytes)
        continue
      }
      if (peeked?.kind === 'route') {
        stop()
        onRoute(peeked.route, bytes)
      } else if (peeked?.kind === 'refuse') {
        stop()
        socket.end(peeked.lastBytes, () => socket.destroy())
      } else if (bytes.length > bytesMax) ended()
      return
    }
  }
  socket.on('error', () => {})
  socket.on('data', read).on('end', ended).on('close', stop)
}
