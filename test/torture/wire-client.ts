/**
 * A client of the torture: one socket, whole messages out, one answer per ReadyForQuery in. Small
 * on purpose: what counts as acknowledged must be plain to see, and a driver would hide it behind
 * pools, retries and queues. An answer counts when its ReadyForQuery has arrived, and not before.
 */
import { connect, type Socket } from 'node:net'
import { concatBytes } from '../../src/base/bytes.ts'
import { BACKEND, frameEnd } from '../../src/front/wire/frame.ts'
import { type Answer, type PostgresError, readAnswer } from '../../src/front/wire/result.ts'
import { say } from '../support/messages.ts'

/** The connection ended before the answer was there. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'

  /** @param farewell what the server said before it hung up, if anything */
  constructor(why: string, farewell?: PostgresError) {
    super(farewell ? `${why}: ${farewell.sqlState} ${farewell.message}` : why)
  }
}

interface Waiter {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
  /** Sent when the server asks for the data of a COPY. */
  readonly copyData: Uint8Array | undefined
}

export class WireClient {
  readonly #socket: Socket
  readonly #waiters: Waiter[] = []
  #received = Buffer.alloc(0)
  /** Bytes of `#received` that are whole messages of an unfinished answer. */
  #scannedBytes = 0
  #lost: ConnectionLost | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => this.#receive(bytes))
    socket.on('error', (error) => this.#lose(error.message))
    socket.on('close', () => this.#lose('the connection was closed'))
  }

  /** Connects to a tenant. Rejects with {@link ConnectionLost}. */
  static async open(port: number, tenant: string): Promise<WireClient> {
    const client = new WireClient(connect({ port, host: '127.0.0.1', noDelay: true }))
    await client.send(say.startup({ user: 'postgres', database: tenant }))
    return client
  }

  /**
   * Sends messages that end in one ReadyForQuery. Further calls before the answer are pipelined.
   */
  send(messages: Uint8Array, copyData?: Uint8Array): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    if (this.#lost) return Promise.reject(this.#lost)
    this.#waiters.push({ resolve, reject, copyData })
    this.#socket.write(messages)
    return promise
  }

  /** One simple query. */
  ask(sql: string): Promise<Answer> {
    return this.send(say.query(sql))
  }

  /**
   * Messages that make a named prepared statement and run it. It is made anew each time: a tenant
   * that has left its slot has forgotten the statements of its clients.
   */
  preparedMessages(name: string, sql: string, parameters: readonly (string | null)[]): Uint8Array {
    return concatBytes([
      say.close(name),
      say.parse(name, sql),
      say.bind('', name, parameters),
      say.execute(''),
      say.sync(),
    ])
  }

  /** COPY ... FROM STDIN with its data. */
  copyIn(sql: string, text: string): Promise<Answer> {
    return this.send(say.query(sql), concatBytes([say.copyData(text), say.copyDone()]))
  }

  /** Says goodbye and hangs up. */
  close(): void {
    this.#socket.end(say.terminate())
  }

  /** Hangs up without a word, whatever is going on. */
  destroy(): void {
    this.#socket.destroy()
  }

  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    for (;;) {
      const at = this.#scannedBytes
      const end = frameEnd(this.#received, at, this.#received.length)
      if (end < 0) return
      this.#scannedBytes = end
      const type = this.#received[at]
      if (type === BACKEND.copyInResponse) this.#sendCopyData()
      if (type === BACKEND.readyForQuery) this.#finish(end)
    }
  }

  #sendCopyData(): void {
    const data = this.#waiters[0]?.copyData
    if (data) this.#socket.write(data)
  }

  #finish(end: number): void {
    const answer = readAnswer(this.#received.subarray(0, end))
    this.#received = this.#received.subarray(end)
    this.#scannedBytes = 0
    this.#waiters.shift()?.resolve(answer)
  }

  #lose(why: string): void {
    if (this.#lost) return
    const { error } = readAnswer(this.#received.subarray(0, this.#scannedBytes))
    this.#lost = new ConnectionLost(why, error)
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#lost)
  }
}
