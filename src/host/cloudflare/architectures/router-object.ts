/**
 * The router of `/ws`: it holds a WebSocket to the compute that everybody shares, asks over it, and
 * falls back to a call when it drops. Seed 003 has it in the module scope of the Worker; there
 * workerd refuses it to every request but the one that opened it ("Cannot perform I/O on behalf of
 * a different request"), so an object holds it. Its side of the socket keeps it awake; the other
 * side sleeps.
 *
 * What was asked over a socket that dropped may have been done. So each question has a name, and
 * the call that follows asks for what came of it (`remembered-answers.ts`).
 */
import { DurableObject } from 'cloudflare:workers'
import { PgnapError } from '../../../base/errors.ts'
import { LIMITS } from '../../../base/limits.ts'
import { Phases } from '../../../base/phases.ts'
import { workerClock } from '../clock.ts'
import { heard, type Outcome, outcomeOf, resultOf } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import type { ComputeRequest } from './compute.ts'
import {
  type ComputeObjectFacts,
  MEMORY_HEADER,
  type SocketAnswer,
  type SocketQuestion,
} from './compute-object.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { askRemote } from './remote.ts'

/** The compute that everybody shares. */
const SHARED_NAME = 'shared'
const CLOSE_NORMAL = 1000

/** A socket to one memory of the compute. */
interface Line {
  readonly socket: WebSocket
  readonly memoryId: string
  /** Who waits, by the name of the question. */
  readonly waiting: Map<string, (answer: SocketAnswer | undefined) => void>
}

/** How statements have gone, in this life of the router. */
export interface RouterCounters {
  /** Sockets that were opened. */
  opened: number
  /** Answered over a socket. */
  bySocket: number
  /** Answered by a call, since there was no socket, or it dropped. */
  byCall: number
}

export interface RouterFacts {
  readonly connected: boolean
  readonly counters: RouterCounters
  readonly compute: ComputeObjectFacts
}

export class RouterObject extends DurableObject<ArchitecturesEnvironment> {
  #line: Line | undefined
  #opening: Promise<Line> | undefined
  readonly #counters: RouterCounters = { opened: 0, bySocket: 0, byCall: 0 }

  query(request: ComputeRequest): Promise<Outcome<RemoteServed>> {
    return outcomeOf(async () => {
      const phases = new Phases(workerClock)
      const requestId = crypto.randomUUID()
      const question: SocketQuestion = { type: 'query', requestId, request }
      const text = JSON.stringify(question)
      const line =
        text.length > LIMITS.socketMessageChars ? undefined : await this.#connected(phases)
      const answer = line && (await phases.measure('socket', () => ask(line, requestId, text)))
      if (answer?.type === 'result') {
        this.#counters.bySocket++
        const { phases: theirs, ...served } = resultOf(answer.outcome)
        const notes = { ...served.notes, way: 'socket' }
        return { ...served, notes, phases: [...phases.times(), ...theirs] }
      }
      this.#counters.byCall++
      const compute = this.#compute
      const served = await askRemote(phases, 'rpc', () =>
        line
          ? compute.queryAgain({ requestId, memoryId: line.memoryId, request })
          : compute.query(request),
      )
      const notes = { ...served.notes, way: 'call' }
      return { ...served, notes, phases: phases.times() }
    })
  }

  facts(): Promise<Outcome<RouterFacts>> {
    return outcomeOf(async () => ({
      connected: this.#line?.socket.readyState === WebSocket.OPEN,
      counters: { ...this.#counters },
      compute: await heard(this.#compute.facts()),
    }))
  }

  get #compute(): ReturnType<ArchitecturesEnvironment['COMPUTES']['getByName']> {
    return this.env.COMPUTES.getByName(SHARED_NAME)
  }

  /** Undefined if there is no socket to be had. */
  async #connected(phases: Phases): Promise<Line | undefined> {
    if (this.#line?.socket.readyState === WebSocket.OPEN) return this.#line
    try {
      return await phases.measure('connect', () => (this.#opening ??= this.#open()))
    } catch (error) {
      // Without a socket a call is made, and tells what is wrong if that fails too.
      if (error instanceof Error) return undefined
      throw error
    } finally {
      this.#opening = undefined
    }
  }

  async #open(): Promise<Line> {
    const request = new Request('https://compute/', { headers: { Upgrade: 'websocket' } })
    const { webSocket: socket, headers } = await this.#compute.fetch(request)
    const memoryId = headers.get(MEMORY_HEADER)
    if (!socket || memoryId === null) {
      throw new PgnapError('INTERNAL', 'a compute took no WebSocket')
    }
    const line: Line = { socket, memoryId, waiting: new Map() }
    socket.accept()
    socket.addEventListener('message', ({ data }) => {
      const answer = JSON.parse(String(data)) as SocketAnswer
      line.waiting.get(answer.requestId)?.(answer)
    })
    const drop = (): void => this.#drop(line)
    socket.addEventListener('close', drop)
    socket.addEventListener('error', drop)
    this.#counters.opened++
    this.#line = line
    return line
  }

  #drop(line: Line): void {
    if (this.#line === line) this.#line = undefined
    if (line.socket.readyState === WebSocket.CLOSING) line.socket.close(CLOSE_NORMAL)
    for (const tell of line.waiting.values()) tell(undefined)
  }
}

/** The answer; undefined if none comes. */
async function ask(
  { socket, waiting }: Line,
  requestId: string,
  text: string,
): Promise<SocketAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<SocketAnswer | undefined>()
  waiting.set(requestId, resolve)
  const timer = workerClock.setTimer(LIMITS.socketAnswerMs, () => resolve(undefined))
  try {
    socket.send(text)
    return await promise
  } finally {
    timer.cancel()
    waiting.delete(requestId)
  }
}
