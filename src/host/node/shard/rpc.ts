/**
 * Calls between the main thread and a shard's thread, over a MessagePort. Only what is not a query
 * on the wire goes this way (HTTP, the library, administration): a hop costs about 20 us, and the
 * wire path has none.
 *
 * An interface of async methods is served on one side and called on the other; arguments and
 * results are structured clones. Errors of pgnap and of Postgres arrive as what they were.
 */
import type { MessagePort } from 'node:worker_threads'
import type { PgnapError } from '../../../base/errors.ts'
import { fromRemote, type RemoteError, toRemote } from '../../remote-error.ts'

/** The remote view of an API: the same methods, all of them async. */
export type Remote<Api> = {
  readonly [Name in keyof Api]: Api[Name] extends (...values: infer Values) => infer Result
    ? (...values: Values) => Promise<Awaited<Result>>
    : never
}

interface Call {
  readonly kind: 'call'
  readonly id: number
  readonly method: string
  readonly values: readonly unknown[]
}

type Reply =
  | { readonly kind: 'reply'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly error: RemoteError }

/**
 * Answers calls that arrive on `port` with the methods of `api`, one per turn of the event loop. A
 * port gives up to a thousand messages in one go, and those that come meanwhile with them: callers
 * that ask again as soon as they are answered would keep the thread from its sockets, its timers
 * and its files for as long as they like (measured: seven seconds).
 */
export function serveApi<Api extends object>(port: MessagePort, api: Api): void {
  const calls: Call[] = []
  let answered = false
  const next = (): void => {
    answered = calls.length > 0
    const call = calls.shift()
    if (!call) return
    setImmediate(next)
    void answer(port, api, call)
  }
  port.on('message', (message: Call) => {
    if (message.kind !== 'call') return
    calls.push(message)
    if (!answered) next()
  })
}

async function answer<Api extends object>(port: MessagePort, api: Api, call: Call): Promise<void> {
  try {
    const method = api[call.method as keyof Api] as (...values: unknown[]) => unknown
    const result = await method.apply(api, [...call.values])
    port.postMessage({ kind: 'reply', id: call.id, result } satisfies Reply)
  } catch (error) {
    port.postMessage({ kind: 'failure', id: call.id, error: toRemote(error) } satisfies Reply)
  }
}

/** The calling side of one port. */
export class ApiCaller<Api extends object> {
  readonly remote: Remote<Api>
  readonly #port: MessagePort
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown> & { method: string }>()
  #lastId = 0
  #lost: PgnapError | undefined

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', (reply: Reply) => this.#settle(reply))
    this.remote = new Proxy({} as Remote<Api>, {
      get:
        (_, method) =>
        (...values: unknown[]) =>
          this.#call(String(method), values),
    })
  }

  /** Whether a call waits for its answer, of another method than these. */
  isAwaited(besides: ReadonlySet<string>): boolean {
    for (const { method } of this.#waiting.values()) if (!besides.has(method)) return true
    return false
  }

  /** Fails every call, pending and future: the other side is gone. */
  fail(error: PgnapError): void {
    this.#lost = error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }

  #call(method: string, values: readonly unknown[]): Promise<unknown> {
    if (this.#lost) return Promise.reject(this.#lost)
    const id = ++this.#lastId
    const waiting = { ...Promise.withResolvers<unknown>(), method }
    this.#waiting.set(id, waiting)
    this.#port.postMessage({ kind: 'call', id, method, values } satisfies Call)
    return waiting.promise
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    if (!waiting) return
    this.#waiting.delete(reply.id)
    if (reply.kind === 'reply') waiting.resolve(reply.result)
    else waiting.reject(fromRemote(reply.error))
  }
}
