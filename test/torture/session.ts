/**
 * One client's stay in one tenant: the vocabulary that operations are written in. Every method says
 * what it does to the ledger; the order is always the same: write down what may happen, send, and
 * fix it when the answer is there.
 *
 * An answer that the server should not have given while it lives is a failure of the round
 * ({@link UnexpectedAnswer}), not something to work around.
 */
import { assert } from '../../src/base/assert.ts'
import type { Random } from '../../src/base/random.ts'
import type { Answer } from '../../src/front/wire/result.ts'
import type { BankLedger, DomainLedger, DomainState, TenantLedger, Transfer } from './ledger.ts'
import type { Tally } from './tally.ts'
import type { WireClient } from './wire-client.ts'

/** The server answered, and wrongly. */
export class UnexpectedAnswer extends Error {
  override readonly name = 'UnexpectedAnswer'
  /** SQLSTATE or HTTP status of the answer; empty or `0` if neither is what was wrong. */
  readonly got: string

  constructor(message: string, got = '') {
    super(message)
    this.got = got
  }
}

/** Told about every message, so that the server can be killed at a chosen one. */
export interface Trigger {
  /** A message of an operation has just been written to the socket. */
  sent(operation: string): void
}

export interface SessionOptions {
  readonly tenant: string
  readonly client: number
  readonly wire: WireClient
  readonly ledger: TenantLedger
  readonly random: Random
  readonly trigger: Trigger
  readonly tally: Tally
  readonly httpPort: number
}

/** A message of a pipeline, and the state that it leads to. */
export interface PipelinedMessage {
  readonly bytes: Uint8Array
  readonly after: DomainState
}

export class Session {
  readonly tenant: string
  readonly client: number
  readonly wire: WireClient
  readonly random: Random
  readonly domain: DomainLedger
  readonly bank: BankLedger
  /** Name of what is being done, for the trigger and for messages. */
  operation = ''
  readonly #trigger: Trigger
  readonly #tally: Tally
  readonly #httpPort: number

  constructor(options: SessionOptions) {
    this.tenant = options.tenant
    this.client = options.client
    this.wire = options.wire
    this.random = options.random
    this.domain = options.ledger.domain(options.client)
    this.bank = options.ledger.bank
    this.#trigger = options.trigger
    this.#tally = options.tally
    this.#httpPort = options.httpPort
  }

  /** A name that belongs to this client alone. */
  name(suffix: string): string {
    return `c${this.client}_${suffix}`
  }

  /** Sends what changes nothing that outlives the connection; it must succeed. */
  async run(sql: string): Promise<Answer> {
    return this.#accepted(sql, await this.#send(sql))
  }

  /** Sends what Postgres must refuse with this SQLSTATE. */
  async refused(sql: string, sqlState: string): Promise<void> {
    const { error } = await this.#send(sql)
    if (error?.sqlState === sqlState) return
    const got = error ? `${error.sqlState} ${error.message}` : 'no error'
    throw this.#unexpected(sql, `${got} instead of ${sqlState}`, error?.sqlState)
  }

  /** Sends what leads to `after`, all of it or nothing; it must succeed. */
  async settle(sql: string, after: DomainState): Promise<Answer> {
    return this.#settle(sql, () => this.wire.ask(sql), after)
  }

  /** As {@link settle}, with finished messages. `sql` is for people only. */
  async settleBytes(sql: string, bytes: Uint8Array, after: DomainState): Promise<Answer> {
    return this.#settle(sql, () => this.wire.send(bytes), after)
  }

  /** As {@link settle}, for COPY FROM STDIN with its data. */
  async settleCopy(sql: string, data: string, after: DomainState): Promise<Answer> {
    return this.#settle(sql, () => this.wire.copyIn(sql, data), after)
  }

  async #settle(sql: string, send: () => Promise<Answer>, after: DomainState): Promise<Answer> {
    this.domain.begin(after)
    const answering = send()
    this.#trigger.sent(this.operation)
    const answer = this.#accepted(sql, await answering)
    this.domain.acknowledge()
    this.#tally.acknowledged(this.operation)
    return answer
  }

  /** Sends several messages at once; each has its own answer and its own transaction. */
  async pipeline(messages: readonly PipelinedMessage[]): Promise<void> {
    const answers = messages.map(({ bytes, after }) => {
      this.domain.begin(after)
      return this.wire.send(bytes)
    })
    // Those that nobody waits for yet must not count as unhandled when the server dies.
    for (const answer of answers) answer.catch(() => {})
    this.#trigger.sent(this.operation)
    for (const answer of answers) {
      this.#accepted('a pipelined statement', await answer)
      this.domain.acknowledge()
      this.#tally.acknowledged(this.operation)
    }
  }

  /** Sends the message that makes a transfer durable. */
  async settleTransfer(sql: string, id: number, transfer: Transfer): Promise<void> {
    this.bank.begin(id, transfer)
    this.#accepted(sql, await this.#send(sql))
    this.bank.acknowledge(id)
    this.#tally.acknowledged(this.operation)
  }

  /** Makes the bank, if no other client did so meanwhile. */
  async settleOpening(sql: string): Promise<void> {
    this.bank.beginOpening()
    this.#accepted(sql, await this.#send(sql))
    this.bank.acknowledgeOpening()
    this.#tally.acknowledged(this.operation)
  }

  /** POST to the JSON API. Rejects as `fetch` does when the server is gone. */
  async post(path: string, body: unknown): Promise<{ status: number; text: string }> {
    const url = `http://127.0.0.1:${this.#httpPort}/v1/tenants/${this.tenant}/${path}`
    const headers = { 'content-type': 'application/json' }
    const responding = fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
    this.#trigger.sent(this.operation)
    const response = await responding
    return { status: response.status, text: await response.text() }
  }

  /** One insert or update over HTTP, which must succeed. */
  async settleOverHttp(
    sql: string,
    params: readonly (string | null)[],
    after: DomainState,
  ): Promise<void> {
    this.domain.begin(after)
    const { status, text } = await this.post('query', { sql, params })
    if (status !== 200) throw this.#unexpected(sql, `HTTP ${status} ${text}`, String(status))
    this.domain.acknowledge()
    this.#tally.acknowledged(this.operation)
  }

  /** Fails the round unless `condition` holds. `got` is the status of an HTTP answer. */
  demand(condition: boolean, message: string, got = 0): void {
    if (!condition) throw this.#unexpected(message, 'not so', String(got))
  }

  /** An element, chosen by the seed. */
  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.random.below(items.length)]
    assert(item !== undefined, 'there is something to choose from')
    return item
  }

  async #send(sql: string): Promise<Answer> {
    const answering = this.wire.ask(sql)
    this.#trigger.sent(this.operation)
    return answering
  }

  #accepted(sql: string, answer: Answer): Answer {
    if (!answer.error) return answer
    throw this.#unexpected(
      sql,
      `${answer.error.sqlState} ${answer.error.message}`,
      answer.error.sqlState,
    )
  }

  #unexpected(sql: string, what: string, got?: string): UnexpectedAnswer {
    const where = `${this.tenant}, client ${this.client}, ${this.operation}`
    return new UnexpectedAnswer(`${where}: ${sql.slice(0, 200)}: ${what}`, got)
  }
}
