/**
 * What a program asks of a tenant: one statement, or several in one transaction. Each call is a
 * client of its own, so nothing of its session is left behind it, and what a failed one has open is
 * rolled back when its client is closed.
 */
import { keptBytes } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { Answer, Batch, BatchAnswer, Statement, Timings } from '../front/control.ts'
import { type ResultSet, queryMessages, readAnswer } from '../front/wire/result.ts'
import type { PoolClient } from '../pool/pool-client.ts'

const LEVELS = {
  serializable: 'serializable',
  repeatableRead: 'repeatable read',
  readCommitted: 'read committed',
  readUncommitted: 'read uncommitted',
} as const satisfies Record<NonNullable<Batch['isolationLevel']>, string>

export class Call {
  readonly #client: PoolClient
  readonly #routeMs: number
  #isCanceled = false

  /** @param routeMs what it has taken to get the client */
  constructor(client: PoolClient, routeMs: number) {
    client.measure()
    this.#client = client
    this.#routeMs = routeMs
  }

  async statement(statement: Statement): Promise<Answer> {
    const { result } = await this.#run(statement)
    return { result, timings: this.#timings() }
  }

  /** All of them, or none if one fails. */
  async transaction(batch: Batch): Promise<BatchAnswer> {
    await this.#run({ sql: beginOf(batch), parameters: [] })
    let timings = this.#timings()
    const results: ResultSet[] = []
    let answerBytesLeft = batch.answerBytesMax ?? Infinity
    for (const statement of [...batch.statements, { sql: 'commit', parameters: [] }]) {
      if (this.#isCanceled) {
        throw new PgnapError('QUERY_CANCELED', 'canceling statement due to user request')
      }
      if (this.#client.transactionStatus !== 'transaction') throw endedBy(results.length)
      const { result, byteLength } = await this.#run({
        ...statement,
        answerBytesMax: answerBytesLeft,
      })
      answerBytesLeft -= byteLength
      timings = addUp(timings, this.#timings())
      results.push(result)
    }
    // That of the commit is nobody's.
    return { results: results.slice(0, -1), timings }
  }

  /** Ends what waits for its turn, and whatever would come after it. */
  cancel(): void {
    this.#isCanceled = true
    this.#client.cancel()
  }

  close(): void {
    this.#client.close()
  }

  async #run({
    sql,
    parameters,
    answerBytesMax = Infinity,
  }: Statement): Promise<{ readonly result: ResultSet; readonly byteLength: number }> {
    const answer = await keptBytes(this.#client.run(queryMessages(sql, parameters), true))
    if (answer.length > answerBytesMax) throw tooLarge(answer.length, answerBytesMax)
    const { result, error } = readAnswer(answer)
    if (error) throw error
    return { result, byteLength: answer.length }
  }

  #timings(): Timings {
    const {
      queueMs = 0,
      wakeMs = 0,
      wokenFrom = 'awake',
      execMs = 0,
      persistMs = 0,
    } = this.#client.timings ?? {}
    return { routeMs: this.#routeMs, queueMs, wakeMs, wokenFrom, executeMs: execMs, persistMs }
  }
}

function beginOf({ isolationLevel, readOnly = false, deferrable = false }: Batch): string {
  const modes = [
    ...(isolationLevel === undefined ? [] : [`isolation level ${LEVELS[isolationLevel]}`]),
    ...(readOnly ? ['read only'] : []),
    ...(deferrable ? ['deferrable'] : []),
  ]
  return `begin ${modes.join(', ')}`
}

/** The way there is gone once, and the first one has found the tenant what it was. */
function addUp(first: Timings, next: Timings): Timings {
  return {
    ...first,
    queueMs: first.queueMs + next.queueMs,
    wakeMs: first.wakeMs + next.wakeMs,
    executeMs: first.executeMs + next.executeMs,
    persistMs: first.persistMs + next.persistMs,
  }
}

function endedBy(number: number): PgnapError {
  return new PgnapError('REQUEST_INVALID', `query ${number} of the batch ended its transaction`, {
    hint: 'leave out COMMIT and ROLLBACK: a batch is one transaction',
  })
}

function tooLarge(byteLength: number, max: number): PgnapError {
  return new PgnapError(
    'ANSWER_TOO_LARGE',
    `the backend answered ${byteLength} bytes, more than the ${max} allowed`,
    { hint: 'add a limit clause, or read large results over the Postgres wire protocol' },
  )
}
