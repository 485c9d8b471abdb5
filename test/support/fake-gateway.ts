/**
 * A gateway for tests of the wire room: a backend that keeps the protocol's rules (who answers
 * what, what is skipped after an error, how COPY takes its data) over a toy SQL. It is the lower
 * room's interface, faked; nothing of our own is replaced.
 *
 * The toy: `select <word>` returns the word in one row, `fail` is an error, `begin` and `commit`
 * are what they are, `copy <name> from stdin` takes data (a name `missing` does not exist),
 * anything else is an empty answer with its first word as the tag.
 */
import assert from 'node:assert/strict'
import type { PgnapError } from '../../src/base/errors.ts'
import type {
  BackendClient,
  ConnectRequest,
  Gateway,
  TransactionStatus,
} from '../../src/router/gateway.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import type { Verifier } from '../../src/router/scram-verifier.ts'
import { BodyReader } from '../../src/front/wire/body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, FRONTEND, frameEnd } from '../../src/front/wire/frame.ts'
import type { Link } from '../../src/front/wire/link.ts'
import { MessageWriter } from '../../src/front/wire/message-writer.ts'

/** Of a session that must not break: what broke it goes to the test. */
export const strictLog: Log = {
  ...silentLog,
  error: (message, fields) => {
    if (message === 'a session broke') throw fields?.['error']
  },
}

export class FakeLink implements Link {
  sent: Uint8Array[] = []
  ended = false
  destroyed = false
  paused = false
  bufferedBytes = 0
  /** The client does not read. */
  stuck = false

  write(bytes: Uint8Array): void {
    assert(!this.ended, 'nothing is written after the end')
    this.sent.push(new Uint8Array(bytes))
    if (this.stuck) this.bufferedBytes += bytes.length
  }

  end(lastBytes?: Uint8Array): void {
    if (lastBytes && !this.ended) this.write(lastBytes)
    this.ended = true
  }

  destroy(): void {
    this.ended = true
    this.destroyed = true
    this.bufferedBytes = 0
  }

  pauseReading(): void {
    this.paused = true
  }

  resumeReading(): void {
    this.paused = false
  }

  /** Everything sent so far, as one array. */
  bytes(): Uint8Array {
    return Buffer.concat(this.sent)
  }

  /**
   * The messages sent so far in short: type letters, with the SQLSTATE of errors and the status.
   */
  summary(from = 0): string {
    return summarize(this.bytes().subarray(from))
  }
}

export function summarize(bytes: Uint8Array): string {
  const words: string[] = []
  let at = 0
  while (at < bytes.length) {
    const next = frameEnd(bytes, at, bytes.length)
    assert(next > 0, 'whole messages')
    const letter = String.fromCharCode(bytes[at] ?? 0)
    const body = Buffer.from(bytes.subarray(at + FRAME_HEAD_BYTES, next))
    if (letter === 'E') {
      const severity = /V([A-Z]+)\0/.exec(body.toString())?.[1]
      words.push(`${severity}:${/\0C([0-9A-Z]{5})\0/.exec(body.toString())?.[1]}`)
    } else if (letter === 'Z') words.push(`Z${body.toString()}`)
    else if (letter === 'C') words.push(`C(${body.toString().slice(0, -1)})`)
    else words.push(letter)
    at = next
  }
  return words.join(' ')
}

export interface FakeGatewayOptions {
  readonly authentication?: 'trust' | 'scram'
  readonly verifiers?: Readonly<Record<string, Verifier>>
  /** Answers come by promise, settled by `release`. */
  readonly later?: boolean
}

export class FakeGateway implements Gateway {
  readonly authentication: 'trust' | 'scram'
  readonly #options: FakeGatewayOptions
  clients: FakeClient[] = []
  requests: ConnectRequest[] = []
  connectError: PgnapError | undefined

  constructor(options: FakeGatewayOptions = {}) {
    this.#options = options
    this.authentication = options.authentication ?? 'trust'
  }

  async passwordFor(user: string): Promise<Verifier | undefined> {
    return this.#options.verifiers?.[user]
  }

  async connect(request: ConnectRequest): Promise<BackendClient> {
    this.requests.push(request)
    if (this.connectError) throw this.connectError
    const client = new FakeClient(this.#options.later ?? false)
    this.clients.push(client)
    return client
  }
}

export class FakeClient implements BackendClient {
  transactionStatus: TransactionStatus = 'idle'
  closed = false
  cancelled = 0
  /** Type letters of each batch that was run, with a bar after a complete one. */
  batches: string[] = []
  /** Data of each COPY that has taken all its data. */
  copied: string[] = []
  /** The next run fails with this. */
  nextError: PgnapError | undefined
  mayGoOn = false
  later: boolean
  /** Lets the run that waits happen. */
  #waiting: (() => void) | undefined
  #out = new MessageWriter()
  #skipping = false
  #statements = new Map<string, string>()
  #portals = new Map<string, string>()

  constructor(later: boolean) {
    this.later = later
  }

  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array> {
    assert(!this.closed, 'a closed client runs nothing')
    assert(!this.#waiting, 'one run at a time')
    if (!this.later) return this.#execute(messages, complete)
    const own = new Uint8Array(messages)
    return new Promise((resolve, reject) => {
      this.#waiting = (): void => {
        try {
          resolve(this.#execute(own, complete))
        } catch (error) {
          reject(error)
        }
      }
    })
  }

  /** Lets the waiting run happen. */
  async release(): Promise<void> {
    const waiting = this.#waiting
    assert(waiting, 'a run waits')
    this.#waiting = undefined
    waiting()
    await Promise.resolve()
    await Promise.resolve()
  }

  get waiting(): boolean {
    return this.#waiting !== undefined
  }

  cancel(): void {
    this.cancelled++
  }

  close(): void {
    this.closed = true
  }

  #execute(messages: Uint8Array, complete: boolean): Uint8Array {
    if (this.nextError) {
      const error = this.nextError
      this.nextError = undefined
      throw error
    }
    this.#out.reset()
    let letters = ''
    let at = 0
    while (at < messages.length) {
      const end = frameEnd(messages, at, messages.length)
      assert(end > 0, 'only whole messages reach a backend')
      const type = messages[at] ?? 0
      letters += String.fromCharCode(type)
      const body = new BodyReader(messages, at + FRAME_HEAD_BYTES, end)
      at = end
      if (this.#skipping && type !== FRONTEND.sync) continue
      if (type === FRONTEND.query) at = this.#query(body.string(), messages, at)
      else if (type === FRONTEND.execute) at = this.#executePortal(body.string(), messages, at)
      else this.#message(type, body)
    }
    this.batches.push(letters + (complete ? '|' : ''))
    return this.#out.view()
  }

  #message(type: number, body: BodyReader): void {
    switch (type) {
      case FRONTEND.parse:
        this.#statements.set(body.string(), body.string())
        this.#out.begin(BACKEND.parseComplete).end()
        break
      case FRONTEND.bind: {
        const portal = body.string()
        const sql = this.#statements.get(body.string())
        if (sql === undefined) this.#error('26000')
        else {
          this.#portals.set(portal, sql)
          this.#out.begin(BACKEND.bindComplete).end()
        }
        break
      }
      case FRONTEND.describe:
        this.#out.begin(BACKEND.noData).end()
        break
      case FRONTEND.sync:
        this.#skipping = false
        this.#ready()
        break
      default:
        break
    }
  }

  #executePortal(portal: string, messages: Uint8Array, at: number): number {
    const result = this.#statement(this.#portals.get(portal) ?? 'fail', messages, at)
    if (result < 0) this.#skipping = true
    return Math.abs(result)
  }

  #query(sql: string, messages: Uint8Array, start: number): number {
    let at = start
    for (const statement of sql.split(';')) {
      if (statement.trim() === '') continue
      at = this.#statement(statement.trim(), messages, at)
      if (at < 0) break
    }
    this.#ready()
    return Math.abs(at)
  }

  /** Offset of the next message; negative after an error. */
  #statement(sql: string, messages: Uint8Array, at: number): number {
    const words = sql.toLowerCase().split(/\s+/)
    const failed = this.transactionStatus === 'failed'
    if (failed && words[0] !== 'rollback') return this.#error('25P02', at)
    if (words[0] === 'fail') return this.#error('42601', at)
    if (words[0] === 'copy' && words.includes('stdin')) return this.#copy(words, messages, at)
    if (words[0] === 'begin') this.transactionStatus = 'transaction'
    if (words[0] === 'commit') this.transactionStatus = 'idle'
    if (words[0] === 'rollback') {
      this.transactionStatus = words[1] === 'to' ? 'transaction' : 'idle'
    }
    if (words[0] === 'set') {
      if (sql.includes('invalid')) return this.#error('22023', at)
      const [, name = '', value = ''] = /set "?(\w+)"? to '((?:[^']|'')*)'/i.exec(sql) ?? []
      this.#out
        .begin(BACKEND.parameterStatus)
        .string(name)
        .string(value.replaceAll("''", "'"))
        .end()
    }
    if (words[0] === 'select') {
      this.#out
        .begin(BACKEND.dataRow)
        .int16(1)
        .value(words[1] ?? null)
        .end()
    }
    this.#out
      .begin(BACKEND.commandComplete)
      .string(words[0] ?? '')
      .end()
    return at
  }

  #copy(words: readonly string[], messages: Uint8Array, start: number): number {
    if (words[1] === 'missing') return this.#error('42P01', start)
    this.#out.begin(BACKEND.copyInResponse).int8(0).int16(3).int16(0).int16(0).int16(0).end()
    let at = start
    let data = ''
    for (;;) {
      const end = frameEnd(messages, at, messages.length)
      assert(end > 0, 'a synchronous backend cannot wait for data')
      const type = messages[at]
      const text = new BodyReader(messages, at + FRAME_HEAD_BYTES, end).text(end - at - 5)
      at = end
      if (type === FRONTEND.copyData) data += text
      if (type === FRONTEND.copyFail) return this.#error('57014', at)
      if (type === FRONTEND.copyDone) break
    }
    this.copied.push(data)
    this.#out
      .begin(BACKEND.commandComplete)
      .string(`COPY ${data.split('\n').length - 1}`)
      .end()
    return at
  }

  #error(sqlState: string, at = 0): number {
    const out = this.#out.begin(BACKEND.errorResponse)
    out.string('SERROR').string('VERROR').string(`C${sqlState}`).string('Mno').int8(0).end()
    if (this.transactionStatus === 'transaction') this.transactionStatus = 'failed'
    if (at === 0) this.#skipping = true
    return -at
  }

  #ready(): void {
    const letter = { idle: 'I', transaction: 'T', failed: 'E' }[this.transactionStatus]
    this.#out.begin(BACKEND.readyForQuery).text(letter).end()
  }
}

/** `bytes` cut at `cuts` (fractions of its length). */
export function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const offsets = cuts.map((cut) => Math.floor(cut * bytes.length)).toSorted((a, b) => a - b)
  const parts: Uint8Array[] = []
  let at = 0
  for (const offset of [...offsets, bytes.length]) {
    if (offset > at) parts.push(bytes.subarray(at, offset))
    at = Math.max(at, offset)
  }
  return parts
}
