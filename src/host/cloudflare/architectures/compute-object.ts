/**
 * A compute that is an object: Postgres for many tenants in one place that is always the same one,
 * and kept warm, while their stores are at home elsewhere (`state-object.ts`).
 * It is the factory of `/factory` and what `/ws` holds its WebSocket to. All that it keeps is a
 * copy.
 *
 * Unlike a Worker it has alarms, so what it has acknowledged ahead (`async`) it flushes itself. Its
 * memory outlives it in the isolate, as everywhere.
 */
import { DurableObject } from 'cloudflare:workers'
import { Phases } from '../../../base/phases.ts'
import { LIMITS } from '../../../base/limits.ts'
import { SlotShare } from '../../../engine/slot-share.ts'
import type { Ahead } from '../../../replica/tenant-replica.ts'
import { workerClock } from '../clock.ts'
import { theIsolate } from '../isolate.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import { toRemote } from '../../remote-error.ts'
import type { RemoteServed } from './architecture.ts'
import { compute, type ComputeRequest, type FlushOrder, reachHome, seatKeyOf } from './compute.ts'
import { ComputePool, type ComputeFacts } from './compute-pool.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { mayHelp } from './flush-alarm.ts'
import { delaysOf } from './isolate-delays.ts'
import { RememberedAnswers } from './remembered-answers.ts'

/** What is sent over a WebSocket to a compute, and what comes back. */
export interface SocketQuestion {
  readonly type: 'query'
  readonly requestId: string
  readonly request: ComputeRequest
}

export type SocketAnswer =
  | {
      readonly type: 'result'
      readonly requestId: string
      readonly outcome: Outcome<RemoteServed>
    }
  /** It does not fit a message: a call has to ask for it. */
  | { readonly type: 'too-large'; readonly requestId: string }

/** A question that was asked over a socket, and of which nothing was heard. */
export interface QuestionAgain {
  readonly requestId: string
  /** Of {@link MEMORY_HEADER}, when the socket was opened. */
  readonly memoryId: string
  readonly request: ComputeRequest
}

/** In the answer to a request for a WebSocket: the memory that is asked over it. */
export const MEMORY_HEADER = 'x-pgnap-memory'

export interface ComputeObjectFacts extends ComputeFacts {
  /** It has a slot: whoever asks waits for none. */
  readonly warm: boolean
  readonly sockets: number
  /** How often the object was made with the memory that it has. */
  readonly lives: number
}

const FLUSH_PREFIX = 'flush/'
/** Close code of WebSockets for frames of the wrong kind. */
const UNSUPPORTED_DATA = 1003

/** Of all that this isolate has. */
const monitor = delaysOf('compute-object')

/** By the object's id; what an object has had in memory its next life goes on with. */
const memories = new Map<string, Memory>()

interface Memory {
  readonly pool: ComputePool
  readonly answers: RememberedAnswers<RemoteServed>
  /** Objects that have had it. */
  lives: number
}

export class ComputeObject extends DurableObject<ArchitecturesEnvironment> {
  #mine: Memory | undefined

  query(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    return outcomeOf(() => this.#compute(request))
  }

  /** Answers what was asked before, or does it if that was not heard; never twice. */
  async queryAgain({ request, ...asked }: QuestionAgain): Promise<Outcome<RemoteServed>> {
    const { answers } = this.#memory
    const outcome = await answers.again(asked, () => this.query(request))
    answers.answered(asked.requestId, JSON.stringify(outcome).length)
    return outcome
  }

  /**
   * The same in an object that nobody will ask again: its slot is made for this one statement, and
   * ends with it.
   */
  coldQuery(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      const { engine } = phases.measureSync('engine', theIsolate)
      const share = new SlotShare({ engine, imageBytesMax: 0 })
      await phases.measure('instantiate', () => share.prepare())
      // Nobody would be there to flush what was acknowledged ahead.
      const write = request.write === 'async' ? 'sync' : request.write
      const asked = { ...request, write }
      const { phases: theirs, ...served } = await this.#compute(
        asked,
        new ComputePool({ share, monitor }),
      )
      return { ...served, phases: [...phases.times(), ...theirs] }
    })
  }

  /** Has a slot ready. */
  warmUp(): Promise<Outcome<ComputeObjectFacts>> {
    return outcomeOf(async () => {
      await this.#pool.share.prepare()
      return this.#facts()
    })
  }

  facts(): Promise<Outcome<ComputeObjectFacts>> {
    return outcomeOf(async () => this.#facts())
  }

  /** A request to become a WebSocket, which the platform keeps while the object is put away. */
  override async fetch(): Promise<Response> {
    const { 0: client, 1: socket } = new WebSocketPair()
    this.ctx.acceptWebSocket(socket)
    const headers = { [MEMORY_HEADER]: this.#memory.answers.memoryId }
    return new Response(null, { status: 101, webSocket: client, headers })
  }

  override async webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): Promise<void> {
    if (typeof message !== 'string') return socket.close(UNSUPPORTED_DATA, 'send text')
    const { requestId, request } = JSON.parse(message) as SocketQuestion
    const { answers } = this.#memory
    const outcome = await answers.ask(requestId, () => this.query(request))
    const answer: SocketAnswer = { type: 'result', requestId, outcome }
    const text = JSON.stringify(answer)
    answers.answered(requestId, text.length)
    if (socket.readyState !== WebSocket.OPEN) return
    const tooLarge: SocketAnswer = { type: 'too-large', requestId }
    socket.send(text.length > LIMITS.socketMessageChars ? JSON.stringify(tooLarge) : text)
  }

  override webSocketClose(socket: WebSocket): void {
    if (socket.readyState === WebSocket.CLOSING) socket.close()
  }

  /** Flushes what was acknowledged ahead. If that fails, the platform comes back with it. */
  override async alarm(): Promise<void> {
    const orders = await this.ctx.storage.list<FlushOrder>({ prefix: FLUSH_PREFIX })
    let failure: unknown
    for (const [key, order] of orders) {
      try {
        const seat = this.#pool.knownSeat(seatKeyOf(order.home))
        await seat?.flush(reachHome(this.env, order.home), new Phases(workerClock))
        await this.#strike(key, order)
      } catch (error) {
        // Others' commits are not to wait for this one's home.
        if (toRemote(error).from === 'pgnap' && !mayHelp(error)) await this.#strike(key, order)
        else failure = error
      }
    }
    if (failure !== undefined) throw failure
  }

  get #id(): string {
    return this.ctx.id.toString()
  }

  get #pool(): ComputePool {
    return this.#memory.pool
  }

  get #memory(): Memory {
    if (this.#mine) return this.#mine
    this.#mine = memories.get(this.#id) ?? {
      pool: new ComputePool({ share: theIsolate().share, monitor }),
      answers: new RememberedAnswers<RemoteServed>(workerClock),
      lives: 0,
    }
    this.#mine.lives++
    memories.set(this.#id, this.#mine)
    return this.#mine
  }

  #compute(request: ComputeRequest, pool: ComputePool = this.#pool): Promise<RemoteServed> {
    const { home, load, write } = request
    const flushWithin = (delayMs: number, ahead: Ahead): void =>
      this.ctx.waitUntil(this.#flushWithin(delayMs, { home, load, write, ...ahead }))
    const asked = { ...request, servedBy: 'compute-object' }
    const waitUntil = (work: Promise<unknown>): void => this.ctx.waitUntil(work)
    return compute(pool, this.env, asked, { flushWithin, waitUntil })
  }

  async #flushWithin(delayMs: number, order: FlushOrder): Promise<void> {
    const { storage } = this.ctx
    const atMs = workerClock.nowMs() + delayMs
    const { home, load, write } = order
    await storage.put(`${FLUSH_PREFIX}${home.kind}/${home.object}/${load}/${write}`, order)
    const dueMs = await storage.getAlarm()
    if (dueMs === null || dueMs > atMs) await storage.setAlarm(atMs)
  }

  /** An order that was given anew while it was carried out stays, and has an alarm of its own. */
  async #strike(key: string, { sequence }: FlushOrder): Promise<void> {
    const { storage } = this.ctx
    if ((await storage.get<FlushOrder>(key))?.sequence === sequence) await storage.delete(key)
  }

  #facts(): ComputeObjectFacts {
    const { share } = this.#pool
    const sockets = this.ctx.getWebSockets().length
    const { lives } = this.#memory
    return { ...this.#pool.facts(), warm: share.isReady(), sockets, lives }
  }
}
