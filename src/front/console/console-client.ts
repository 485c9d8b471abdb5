/**
 * One client of the admin console, as the session of its connection sees a backend: takes whole
 * messages, answers as Postgres would, knows no transactions and keeps nothing but the names that
 * the client has prepared.
 *
 * Every answer comes by promise, because the facts come from other threads. It must never wait for
 * them without a limit: whoever looks at a server that hangs wants to be told so. Only PAUSE waits
 * for as long as it takes; it ends when it is cancelled or its client leaves. Errors of a
 * command are part of the answer, so that the connection goes on.
 */
import type { Clock, Timer } from '../../base/clock.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { BackendClient } from '../../router/gateway.ts'
import { BodyReader } from '../wire/body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, FRONTEND, copyBytes, frameEnd } from '../wire/frame.ts'
import { MessageWriter } from '../wire/message-writer.ts'
import { errorResponse, noticeResponse } from '../../base/error-message.ts'
import { readyForQuery } from '../wire/server-messages.ts'
import { type Act, type Command, parseCommands } from './command.ts'
import { type Format, formatsOf, writeDataRow, writeRowDescription } from './table-messages.ts'
import type { Column, ConsoleSources, Rows } from './table.ts'

/** A bound command; its rows are read when it is first executed. */
interface Portal {
  readonly command: Command | undefined
  readonly formats: readonly Format[]
  result: Rows | undefined
  sentCount: number
}

export class ConsoleClient implements BackendClient {
  readonly transactionStatus = 'idle'
  readonly #sources: ConsoleSources
  readonly #clock: Clock
  readonly #log: Log
  readonly #gone: AbortSignal | undefined
  readonly #settingNames: ReadonlySet<string>
  /** Undefined stands for an empty text, which may be prepared too. */
  readonly #statements = new Map<string, Command | undefined>()
  readonly #portals = new Map<string, Portal>()
  /** After an error in the extended protocol everything up to Sync is passed over. */
  #skipping = false
  #closed = false
  /** Ends the wait for the shards. */
  #interrupt: ((error: PgnapError) => void) | undefined

  /** @param gone aborted when the client has sent its last byte */
  constructor(sources: ConsoleSources, log: Log, gone?: AbortSignal) {
    this.#gone = gone
    this.#sources = sources
    this.#clock = sources.clock
    this.#log = log
    this.#settingNames = new Set(sources.settings.map(({ name }) => name.toLowerCase()))
  }

  run(messages: Uint8Array): Promise<Uint8Array> {
    return this.#answer(copyBytes(messages))
  }

  cancel(): void {
    this.#interrupt?.(
      new PgnapError('QUERY_CANCELED', 'canceling statement due to user request', {
        hint: 'ask again',
      }),
    )
  }

  close(): void {
    this.#closed = true
    this.#statements.clear()
    this.#portals.clear()
    this.cancel()
  }

  async #answer(messages: Uint8Array): Promise<Uint8Array> {
    const out = new MessageWriter()
    let at = 0
    while (at < messages.length && !this.#closed) {
      const next = frameEnd(messages, at, messages.length)
      const type = messages[at] ?? 0
      if (!this.#skipping || type === FRONTEND.sync) {
        try {
          checkSize(next - at)
          await this.#message(type, new BodyReader(messages, at + FRAME_HEAD_BYTES, next), out)
        } catch (error) {
          this.#refuse(error, type, out)
        }
        checkAnswer(out)
      }
      at = next
    }
    return out.view()
  }

  async #message(type: number, body: BodyReader, out: MessageWriter): Promise<void> {
    switch (type) {
      case FRONTEND.query:
        await this.#query(body.string(), out)
        break
      case FRONTEND.parse:
        this.#parse(body)
        out.begin(BACKEND.parseComplete).end()
        break
      case FRONTEND.bind:
        this.#bind(body)
        out.begin(BACKEND.bindComplete).end()
        break
      case FRONTEND.describe:
        this.#describe(body, out)
        break
      case FRONTEND.execute:
        await this.#execute(body, out)
        break
      case FRONTEND.close:
        ;(isStatement(body) ? this.#statements : this.#portals).delete(body.string())
        out.begin(BACKEND.closeComplete).end()
        break
      case FRONTEND.sync:
        this.#skipping = false
        this.#portals.clear()
        out.bytes(readyForQuery('idle'))
        break
      case FRONTEND.functionCall:
        throw new PgnapError('NOT_SUPPORTED', 'the admin console has no functions', {
          hint: 'SHOW HELP tells the commands',
        })
      default:
        // Flush asks for what is answered anyway; data of a COPY that was refused means nothing.
        break
    }
  }

  #refuse(reason: unknown, type: number, out: MessageWriter): void {
    const error = toPgnapError(reason)
    if (error.kind === 'report') this.#log.error(error.message, { error })
    out.bytes(errorResponse(error, 'ERROR'))
    if (type === FRONTEND.query || type === FRONTEND.functionCall) out.bytes(readyForQuery('idle'))
    else this.#skipping = true
  }

  async #query(text: string, out: MessageWriter): Promise<void> {
    const commands = parseCommands(text, this.#settingNames)
    this.#statements.delete('')
    this.#portals.clear()
    if (commands.length === 0) out.begin(BACKEND.emptyQueryResponse).end()
    for (const command of commands) {
      const result = await this.#read(command)
      if (command.kind === 'show') writeRowDescription(out, command.table.columns, [])
      writeResult(out, command, { result, formats: [], sentCount: 0, countMax: 0 })
      checkAnswer(out)
    }
    out.bytes(readyForQuery('idle'))
  }

  #parse(body: BodyReader): void {
    const name = body.string()
    const commands = parseCommands(body.string(), this.#settingNames)
    if (commands.length > 1) {
      throw new PgnapError(
        'COMMAND_INVALID',
        'cannot insert multiple commands into a prepared statement',
        { hint: 'prepare them one by one' },
      )
    }
    this.#makeRoom(this.#statements.has(name))
    this.#statements.set(name, commands[0])
  }

  #bind(body: BodyReader): void {
    const portal = body.string()
    const statement = body.string()
    if (!this.#statements.has(statement)) throw missing('prepared statement', statement)
    const command = this.#statements.get(statement)
    for (let count = body.int16(); count > 0; count--) body.int16()
    const parameterCount = body.int16()
    if (parameterCount !== 0) {
      throw new PgnapError('PROTOCOL_VIOLATION', 'commands of the admin console take no parameters')
    }
    const codes = Array.from({ length: Math.max(0, body.int16()) }, () => body.int16())
    const formats = formatsOf(codes, columnsOf(command).length)
    this.#makeRoom(this.#portals.has(portal))
    this.#portals.set(portal, { command, formats, result: undefined, sentCount: 0 })
  }

  #describe(body: BodyReader, out: MessageWriter): void {
    const ofStatement = isStatement(body)
    const name = body.string()
    const portal = ofStatement ? undefined : this.#portal(name)
    if (ofStatement) {
      if (!this.#statements.has(name)) throw missing('prepared statement', name)
      out.begin(BACKEND.parameterDescription).int16(0).end()
    }
    const command = portal ? portal.command : this.#statements.get(name)
    if (command?.kind !== 'show') out.begin(BACKEND.noData).end()
    else writeRowDescription(out, command.table.columns, portal?.formats ?? [])
  }

  async #execute(body: BodyReader, out: MessageWriter): Promise<void> {
    const portal = this.#portal(body.string())
    const countMax = body.int32()
    const { command, formats, sentCount } = portal
    if (!command) {
      out.begin(BACKEND.emptyQueryResponse).end()
      return
    }
    const result = (portal.result ??= await this.#read(command))
    portal.sentCount = writeResult(out, command, { result, formats, sentCount, countMax })
  }

  #portal(name: string): Portal {
    const portal = this.#portals.get(name)
    if (!portal) throw missing('portal', name)
    return portal
  }

  #makeRoom(replaces: boolean): void {
    if (replaces || this.#statements.size + this.#portals.size < LIMITS.consolePreparedMax) return
    throw new PgnapError('MESSAGE_TOO_LARGE', 'too many prepared statements', {
      hint: `close some: the limit consolePreparedMax is ${LIMITS.consolePreparedMax}`,
    })
  }

  /** What a command shows, within `consoleAnswerMs` or until it is cancelled. */
  #read(command: Command): Promise<Rows> {
    if (command.kind === 'acknowledge') return Promise.resolve({ rows: [] })
    if (command.kind === 'act') return this.#act(command)
    const { promise, resolve, reject } = Promise.withResolvers<Rows>()
    const timer: Timer = this.#clock.setTimer(LIMITS.consoleAnswerMs, () => reject(noAnswer()))
    this.#interrupt = reject
    command.table.read(this.#sources, command.page).then(resolve, reject)
    return promise.finally(() => {
      timer.cancel()
      this.#interrupt = undefined
    })
  }

  /** A command that is given up takes itself back. */
  async #act({ patient, run }: Act): Promise<Rows> {
    const giving = new AbortController()
    const { promise, reject } = Promise.withResolvers<never>()
    const giveUp = (error: PgnapError): void => {
      giving.abort(error)
      reject(error)
    }
    this.#interrupt = giveUp
    // Who waits for something that may never be there waits only for as long as somebody listens.
    const left = (): void => giveUp(leftAlone())
    const timer = patient
      ? undefined
      : this.#clock.setTimer(LIMITS.consoleAnswerMs, () => giveUp(noAnswer()))
    if (patient) this.#gone?.addEventListener('abort', left, { once: true })
    if (patient && this.#gone?.aborted) left()
    try {
      await Promise.race([run(this.#sources.operations, giving.signal), promise])
      return { rows: [] }
    } finally {
      timer?.cancel()
      this.#gone?.removeEventListener('abort', left)
      this.#interrupt = undefined
    }
  }
}

function leftAlone(): PgnapError {
  return new PgnapError('QUERY_CANCELED', 'its client has sent its last byte')
}

interface Sending {
  readonly result: Rows
  readonly formats: readonly Format[]
  /** Rows that were sent before. */
  readonly sentCount: number
  /** Rows to send now; 0 for all. */
  readonly countMax: number
}

/** Returns how many rows have been sent by then. */
function writeResult(out: MessageWriter, command: Command, sending: Sending): number {
  const { result, formats, sentCount, countMax } = sending
  const end = countMax > 0 ? Math.min(sentCount + countMax, result.rows.length) : undefined
  const columns = columnsOf(command)
  const rows = result.rows.slice(sentCount, end)
  for (const cells of rows) {
    writeDataRow(out, columns, cells, formats)
    checkAnswer(out)
  }
  if (end !== undefined && end < result.rows.length) {
    out.begin(BACKEND.portalSuspended).end()
    return end
  }
  if (result.notice !== undefined) out.bytes(noticeResponse(result.notice))
  const tag = command.kind === 'show' ? 'SHOW' : command.tag
  out.begin(BACKEND.commandComplete).string(tag).end()
  return result.rows.length
}

function columnsOf(command: Command | undefined): readonly Column[] {
  return command?.kind === 'show' ? command.table.columns : []
}

/** Describe and Close say first whether they mean a statement or a portal. */
function isStatement(body: BodyReader): boolean {
  return body.int8() === 0x53
}

function missing(what: string, name: string): PgnapError {
  const shown = name.slice(0, LIMITS.tenantNameCharsMax)
  return new PgnapError('PROTOCOL_VIOLATION', `${what} "${shown}" does not exist`)
}

function noAnswer(): PgnapError {
  return new PgnapError('QUERY_WAIT_TIMEOUT', 'a shard gives no answer: it may run a statement', {
    detail: `the limit consoleAnswerMs is ${LIMITS.consoleAnswerMs} ms`,
    hint: 'SHOW SHARDS tells which one is silent; ask again when its statement has ended',
  })
}

function checkSize(messageBytes: number): void {
  if (messageBytes <= LIMITS.consoleMessageBytesMax) return
  throw new PgnapError('MESSAGE_TOO_LARGE', `a message of ${messageBytes} bytes is too large`, {
    hint: `the limit consoleMessageBytesMax is ${LIMITS.consoleMessageBytesMax}`,
  })
}

/** Not an error of a command: what has been written is too much already. */
function checkAnswer(out: MessageWriter): void {
  if (out.length <= LIMITS.answerBytesMax) return
  throw new PgnapError('ANSWER_TOO_LARGE', 'the answers to one batch are too large', {
    hint: `ask for less at once: the limit answerBytesMax is ${LIMITS.answerBytesMax}`,
  })
}
