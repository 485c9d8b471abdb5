/**
 * One client of one server, the same for every peer: a socket, finished bytes out, ReadyForQuery
 * in. No driver, because a driver costs more than the servers it would measure. The hot path is a
 * callback per answer, without a promise, and reads into one buffer that is used again and again.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { assert } from '../../src/base/assert.ts'
import { AnswerScanner, ServerError } from './answer-scanner.ts'
import { queryMessage, startupMessage, TERMINATE_MESSAGE } from './messages.ts'

const READ_BUFFER_BYTES = 65_536
/** How often a server that is starting is knocked at; also the resolution of what that measures. */
const RETRY_MS = 1
/** Codes that a server which is starting answers with. */
const STARTING = new Set(['57P03', 'ECONNREFUSED', 'ECONNRESET', 'CLOSED'])

/** Where and as whom to connect; always on the loopback interface, always without a password. */
export interface Address {
  readonly port: number
  readonly user: string
  readonly database: string
}

type Done = (error: Error | undefined) => void

export class Connection implements AsyncDisposable {
  readonly #socket: Socket
  /** Of every answer on this connection. */
  readonly scanner: AnswerScanner
  #done: Done | undefined
  #failure: Error | undefined

  private constructor(socket: Socket, scanner: AnswerScanner) {
    this.#socket = socket
    this.scanner = scanner
  }

  /**
   * Connects and waits for the first ReadyForQuery. Rejects with {@link ServerError} or a socket
   * error.
   */
  static async open(address: Address, options = { keepRows: true }): Promise<Connection> {
    const scanner = new AnswerScanner(options)
    let connection: Connection | undefined
    const buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)
    const socket = connect({
      port: address.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer,
        callback: (byteCount) => {
          connection?.received(buffer.subarray(0, byteCount))
          return true
        },
      },
    })
    connection = new Connection(socket, scanner)
    const opened = connection
    socket.on('error', (error) => opened.#fail(error))
    socket.on('close', () => opened.#fail(new ServerError('CLOSED', 'the server hung up')))
    await opened.exchange(startupMessage(address.user, address.database))
    return opened
  }

  /** Writes `bytes` and calls `done` once at the next ReadyForQuery. One exchange at a time. */
  send(bytes: Buffer, done: Done): void {
    assert(this.#done === undefined, 'one exchange at a time')
    this.#done = done
    if (this.#failure === undefined) this.#socket.write(bytes)
    else this.#fail(this.#failure)
  }

  /** {@link send} as a promise, for everything that is not in the hot path. */
  exchange(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.send(bytes, (error) => (error === undefined ? resolve() : reject(error)))
    })
  }

  /** Runs one simple query; its rows as text. Needs a connection that keeps rows. */
  async query(sql: string): Promise<(string | null)[][]> {
    this.scanner.rows = []
    await this.exchange(queryMessage(sql))
    return this.scanner.rows
  }

  /** For the socket only. */
  received(chunk: Buffer): void {
    const readyCount = this.scanner.push(chunk)
    if (readyCount > 0) this.#finish(this.scanner.takeError())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.destroyed) return
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    this.#socket.end(TERMINATE_MESSAGE)
    // With `onread` nobody consumes the end of the stream, so the socket does not close by itself.
    this.#socket.destroySoon()
    await closed
  }

  #fail(error: Error): void {
    this.#failure = this.scanner.takeError() ?? this.#failure ?? error
    this.#finish(this.#failure)
  }

  #finish(error: Error | undefined): void {
    const done = this.#done
    this.#done = undefined
    done?.(error)
  }
}

/** One statement on a fresh connection; its rows. The connection is gone when this returns. */
export async function queryOnce(address: Address, sql: string): Promise<(string | null)[][]> {
  await using connection = await Connection.open(address)
  return await connection.query(sql)
}

/** A first row: how long it took from before the connect, and the hash of the rows. */
export interface FirstRow {
  readonly elapsedMs: number
  /** When the answer was complete, on the clock of `performance.now()`. */
  readonly atMs: number
  readonly hash: number
}

/** Connects, asks `sql`, and stops the clock when the answer is complete. */
export async function firstRow(address: Address, sql: string): Promise<FirstRow> {
  const startMs = performance.now()
  const connection = await Connection.open(address)
  await connection.query(sql)
  const atMs = performance.now()
  await connection[Symbol.asyncDispose]()
  return { elapsedMs: atMs - startMs, atMs, hash: connection.scanner.hash }
}

/**
 * {@link firstRow} of a server that may still be starting: knocks until it answers. `startMs` is
 * `performance.now()` from before the process was started. Rejects after `timeoutMs` with the last
 * error, at once on one that waiting cannot cure, or when `abort` fires (the process died).
 */
export async function firstRowOfStarting(
  address: Address,
  sql: string,
  options: { readonly startMs: number; readonly timeoutMs: number; readonly abort: AbortSignal },
): Promise<FirstRow> {
  for (;;) {
    try {
      const row = await firstRow(address, sql)
      return { ...row, elapsedMs: row.atMs - options.startMs }
    } catch (error) {
      options.abort.throwIfAborted()
      const waitedMs = performance.now() - options.startMs
      if (!STARTING.has(codeOf(error)) || waitedMs > options.timeoutMs) throw error
    }
    await delay(RETRY_MS)
  }
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function codeOf(error: unknown): string {
  if (error instanceof ServerError) return error.sqlState
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
