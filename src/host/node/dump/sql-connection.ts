/**
 * A client of one tenant over a stream of bytes, wherever that leads: one statement at a time, and
 * the data of a COPY while it comes. What `pgnap dump` and `pgnap restore` talk through; whoever
 * speaks the protocol itself (pg_dump) takes the stream when it has been let in.
 *
 * Passwords are sent in clear if they are asked for: the stream is a WebSocket, which asks in no
 * other way (docs/http-api.md), or leads to this process itself.
 */
import type { Duplex } from 'node:stream'
import { concatBytes, utf8 } from '../../../base/bytes.ts'
import { ERRORS, type ErrorCode, PgnapError } from '../../../base/errors.ts'
import { statusOf } from '../../../engine/answer-end.ts'
import type { TransactionStatus } from '../../../engine/engine.ts'
import { BodyReader } from '../../../front/wire/body-reader.ts'
import {
  BACKEND,
  FRAME_HEAD_BYTES,
  FRONTEND,
  frameEnd,
  int32At,
} from '../../../front/wire/frame.ts'
import { MessageWriter } from '../../../front/wire/message-writer.ts'
import {
  type MessageFields,
  PostgresError,
  readAnswer,
  type ResultSet,
} from '../../../front/wire/result.ts'

export interface Login {
  readonly tenant: string
  readonly user: string
  /** Sent if it is asked for. */
  readonly password: string
  /** What the tenant's other clients see of this one. */
  readonly program: string
}

export interface StatementOptions {
  /** Asked for the data of a COPY ... FROM STDIN, until it has no more. */
  readonly copyData?: () => Promise<Uint8Array | undefined>
}

export interface Finished {
  readonly result: ResultSet
  readonly status: TransactionStatus
}

const PROTOCOL_3 = 3 << 16
const PASSWORD_IN_CLEAR = 3

export class SqlConnection implements Disposable {
  readonly #stream: Duplex
  readonly #chunks: AsyncIterator<Uint8Array>
  /** What has come and was not looked at yet. */
  #received: Uint8Array = new Uint8Array(0)
  #greeting: Uint8Array = new Uint8Array(0)

  private constructor(stream: Duplex) {
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
    // Whoever reads next is told.
    stream.on('error', () => {})
  }

  /**
   * Logs in. Rejects with what the server says no with, and SERVER_UNREACHABLE if it says nothing.
   */
  static async open(stream: Duplex, login: Login): Promise<SqlConnection> {
    const connection = new SqlConnection(stream)
    try {
      await connection.#logIn(login)
      return connection
    } catch (error) {
      connection[Symbol.dispose]()
      throw error
    }
  }

  /** All that a client is told from being let in to its first turn, for another one to be told. */
  get greeting(): Uint8Array {
    return this.#greeting
  }

  /** Runs one statement. @param sql as text, or bytes as Latin-1 in `latin1` */
  async run(
    sql: string | { readonly latin1: string },
    { copyData }: StatementOptions = {},
  ): Promise<Finished> {
    await this.write(queryMessage(typeof sql === 'string' ? utf8(sql) : latin1(sql.latin1)))
    const answer: Uint8Array[] = []
    for (;;) {
      const message = await this.#nextMessage()
      if (message[0] === BACKEND.copyInResponse) {
        await this.#sendCopy(copyData)
      } else if (message[0] === BACKEND.readyForQuery) {
        const { result, error } = readAnswer(concatBytes(answer))
        if (error) throw plainError(error.fields)
        return { result, status: statusOf(message) ?? 'failed' }
      } else if (isKept(message[0])) {
        answer.push(message)
        // After one that is fatal nothing comes any more.
        if (message[0] === BACKEND.errorResponse) throwIfFatal(message)
      }
    }
  }

  /**
   * What one statement is answered, in pieces of whole messages, the last of which ends it. Throws
   * an error that ends the connection; any other is a part of the answer.
   */
  async *answersTo(sql: string): AsyncGenerator<Uint8Array> {
    await this.write(queryMessage(utf8(sql)))
    for (let isReady = false; !isReady;) {
      const { messages, last } = await this.#nextMessages()
      if (last[0] === BACKEND.errorResponse) throwIfFatal(last)
      isReady = last[0] === BACKEND.readyForQuery
      yield messages
    }
  }

  /** Sends bytes of the protocol; waits while the other side takes none. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#stream.destroyed) throw brokenOff()
    if (this.#stream.write(bytes)) return
    await new Promise<void>((resolve) => {
      const go = (): void => {
        this.#stream.off('drain', go).off('close', go)
        resolve()
      }
      this.#stream.once('drain', go).once('close', go)
    })
  }

  /** The next bytes of the protocol, as they come; undefined if there are no more. */
  async read(): Promise<Uint8Array | undefined> {
    if (this.#received.length > 0) {
      const received = this.#received
      this.#received = new Uint8Array(0)
      return received
    }
    try {
      const { value, done } = await this.#chunks.next()
      return done === true ? undefined : value
    } catch {
      // How it ended is of no matter to who reads: there is no more.
      return undefined
    }
  }

  /** Leaves; what was not committed is rolled back. */
  [Symbol.dispose](): void {
    this.#stream.destroy()
  }

  async #logIn({ tenant, user, password, program }: Login): Promise<void> {
    const writer = new MessageWriter().begin(0).int32(PROTOCOL_3)
    const parameters = { user, database: tenant, application_name: program }
    for (const [name, value] of Object.entries(parameters)) writer.string(name).string(value)
    await this.write(writer.int8(0).end().copy())
    const greeting: Uint8Array[] = []
    for (;;) {
      const message = await this.#nextMessage()
      const kind = message[0]
      if (kind === BACKEND.errorResponse) throw plainError(fieldsOf(message))
      if (kind === BACKEND.authentication && !isLetIn(message)) {
        await this.#sendPassword(message, password)
        continue
      }
      greeting.push(message)
      if (kind === BACKEND.readyForQuery) break
    }
    this.#greeting = concatBytes(greeting)
  }

  async #sendPassword(asked: Uint8Array, password: string): Promise<void> {
    if (new BodyReader(asked, FRAME_HEAD_BYTES).int32() !== PASSWORD_IN_CLEAR) {
      throw new PgnapError('AUTHENTICATION_UNSUPPORTED', 'the server asks for another login', {
        hint: 'name the HTTP port of a pgnap server with --url',
      })
    }
    await this.write(new MessageWriter().begin(FRONTEND.password).string(password).end().copy())
  }

  async #sendCopy(copyData: StatementOptions['copyData']): Promise<void> {
    for (let data = await copyData?.(); data; data = await copyData?.()) {
      await this.write(new MessageWriter().begin(FRONTEND.copyData).bytes(data).end().view())
    }
    await this.write(new MessageWriter().begin(FRONTEND.copyDone).end().view())
  }

  /** One whole message, from its type on. */
  async #nextMessage(): Promise<Uint8Array> {
    await this.#fill(FRAME_HEAD_BYTES)
    const bytes = 1 + int32At(this.#received, 1)
    await this.#fill(bytes)
    const message = this.#received.subarray(0, bytes)
    this.#received = this.#received.subarray(bytes)
    return message
  }

  /** Has at least so many bytes received. Put together once: a message may come in many chunks. */
  async #fill(bytes: number): Promise<void> {
    if (this.#received.length >= bytes) return
    const chunks = [this.#received]
    let length = this.#received.length
    this.#received = new Uint8Array(0)
    while (length < bytes) {
      const chunk = await this.read()
      if (!chunk) throw brokenOff()
      chunks.push(chunk)
      length += chunk.length
    }
    this.#received = concatBytes(chunks)
  }

  /** The whole messages that are there, at least one, and the last of them. */
  async #nextMessages(): Promise<{ readonly messages: Uint8Array; readonly last: Uint8Array }> {
    const first = await this.#nextMessage()
    let last = first
    let bytes = first.length
    for (;;) {
      const end = frameEnd(this.#received, 0, this.#received.length)
      // They lie behind each other in what was received together.
      if (end < 0) return { messages: new Uint8Array(first.buffer, first.byteOffset, bytes), last }
      last = this.#received.subarray(0, end)
      this.#received = this.#received.subarray(end)
      bytes += end
    }
  }
}

/** What an answer is read from. The rows of a COPY that nobody has asked for are not. */
function isKept(kind: number | undefined): boolean {
  return (
    kind === BACKEND.rowDescription ||
    kind === BACKEND.dataRow ||
    kind === BACKEND.commandComplete ||
    kind === BACKEND.errorResponse
  )
}

function isLetIn(message: Uint8Array): boolean {
  return new BodyReader(message, FRAME_HEAD_BYTES).int32() === 0
}

function queryMessage(sql: Uint8Array): Uint8Array {
  return new MessageWriter().begin(FRONTEND.query).bytes(sql).int8(0).end().view()
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1')
}

function throwIfFatal(message: Uint8Array): void {
  const fields = fieldsOf(message)
  if (fields['V'] === 'FATAL' || fields['V'] === 'PANIC') throw plainError(fields)
}

function fieldsOf(message: Uint8Array): MessageFields {
  return readAnswer(message).error?.fields ?? {}
}

/** As what it was: pgnap's own errors say in the field R which they are (docs/errors.md). */
function plainError(fields: MessageFields): Error {
  const { R: code = '', M: message = '', D: detail, H: hint } = fields
  if (!Object.hasOwn(ERRORS, code)) return new PostgresError(fields)
  return new PgnapError(code as ErrorCode, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(detail === undefined ? {} : { detail }),
  })
}

function brokenOff(): PgnapError {
  return new PgnapError('SERVER_UNREACHABLE', 'the connection to the tenant broke off', {
    hint: 'look into the log of the server, then try again',
  })
}
