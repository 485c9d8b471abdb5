/**
 * Requests that a client sends ahead on one connection (HTTP/1.1 pipelining) are answered in their
 * order, so each waits until those before it have been. Node begins all of them at once and keeps
 * the answers: a packet of small requests would be gigabytes of answers, of one connection, before
 * the first of them is read.
 *
 * While any of them waits, nothing more of the connection is read.
 *
 * Source: RFC 9112, section 9.3.2.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS } from '../../base/limits.ts'

/** One request as Node has it. */
export interface Exchange {
  readonly incoming: Pick<IncomingMessage, 'socket'>
  readonly outgoing: Pick<ServerResponse, 'socket' | 'once'>
}

type Fetch = (request: Request, exchange: object) => Response | Promise<Response>

/** `fetch`, of a server of HTTP/1.1, asked for the requests of each connection in turn. */
export function inTurn(fetch: Fetch): Fetch {
  const requests = new PipelinedRequests()
  return (request, exchange) => {
    const turn = requests.turn(exchange as Exchange)
    return turn ? turn.then(() => fetch(request, exchange)) : fetch(request, exchange)
  }
}

export class PipelinedRequests {
  readonly #waiting = new WeakMap<Socket, number>()

  /** Undefined if it is the request's turn; else that comes, or the connection ends before. */
  turn({ incoming: { socket }, outgoing }: Exchange): Promise<void> | undefined {
    // Node gives the socket to the answer that may be written.
    if (outgoing.socket) return undefined
    const count = this.#waitingOn(socket) + 1
    this.#waiting.set(socket, count)
    if (count > LIMITS.httpPipelineMax) socket.destroy()
    else socket.pause()
    return this.#wait(socket, outgoing)
  }

  async #wait(socket: Socket, outgoing: Exchange['outgoing']): Promise<void> {
    await once(outgoing as ServerResponse, 'socket')
    const count = this.#waitingOn(socket) - 1
    this.#waiting.set(socket, count)
    if (count === 0) socket.resume()
  }

  #waitingOn(socket: Socket): number {
    return this.#waiting.get(socket) ?? 0
  }
}
