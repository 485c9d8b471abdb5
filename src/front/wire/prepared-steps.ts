/**
 * A client's batches, of which some only prepare: Parse and Describe with a Flush behind them, as
 * asyncpg says everything. It runs what it has prepared in the next batch, whenever that is.
 *
 * A pipeline keeps the backend until its Sync, since what it has done so far is an open
 * transaction. What has only been prepared is not: a server would make nobody wait for that. So
 * such a batch is closed by a Sync of ours, whose answer nobody hears, and others may go on.
 *
 * If it fails it is said again as it came: after an error a backend passes over everything up to
 * the client's own Sync. So there may be one statement in it, which is either there or not.
 *
 * Source: Postgres manual, 54.2.3 (extended query) and 54.2.4 (pipelining).
 */
import { concatBytes } from '../../base/bytes.ts'
import { eachMessage } from '../../base/message-frames.ts'
import { SYNC } from '../../base/protocol-message.ts'
import type { BackendClient } from '../../router/gateway.ts'
import { BACKEND, findFrame, FRONTEND } from './frame.ts'

type Runner = Pick<BackendClient, 'run' | 'transactionStatus'>

export class PreparedSteps {
  readonly #client: Runner
  #isOpen = false
  #leavesOpen = false
  #keptBytes = 0

  constructor(client: Runner) {
    this.#client = client
  }

  /** Something has run since the last ReadyForQuery: the backend is in the middle of a batch. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** What is kept of the batch in flight, beside what the backend's side keeps of it. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** As {@link BackendClient.run}. */
  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array> {
    this.#leavesOpen = !complete
    this.#keptBytes = 0
    const mayClose = !complete && !this.#isOpen && this.#client.transactionStatus === 'idle'
    if (!mayClose || !onlyPrepares(messages)) return this.#client.run(messages, complete)
    const closed = concatBytes([messages, SYNC])
    const own = closed.subarray(0, messages.length)
    const answer = this.#client.run(closed, true)
    if (!(answer instanceof Promise)) return this.#closed(own, answer)
    this.#keptBytes = closed.length
    return answer.then((late) => {
      const told = this.#closed(own, late)
      return told instanceof Promise ? told : new Uint8Array(told)
    })
  }

  /** The answer has come. */
  answered(): void {
    this.#keptBytes = 0
    this.#isOpen = this.#leavesOpen
  }

  #closed(messages: Uint8Array, answer: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (findFrame(answer, BACKEND.errorResponse) >= 0) return this.#client.run(messages, false)
    this.#leavesOpen = false
    return answer.subarray(0, findFrame(answer, BACKEND.readyForQuery))
  }
}

const PREPARING: ReadonlySet<number> = new Set([
  FRONTEND.parse,
  FRONTEND.describe,
  FRONTEND.close,
  FRONTEND.flush,
])

function onlyPrepares(messages: Uint8Array): boolean {
  let statements = 0
  let others = 0
  eachMessage(messages, (type = 0) => {
    if (type === FRONTEND.parse) statements++
    else if (!PREPARING.has(type)) others++
  })
  return statements === 1 && others === 0
}
