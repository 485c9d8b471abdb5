/** Frontend messages for tests that drive a backend without a driver. */
import { queryMessage, readAnswer, type Answer } from '../../src/front/wire/result.ts'

/** Anything that runs messages: a slot, a pool's client. */
export interface Runner {
  run(messages: Uint8Array): Uint8Array
}

/** Runs SQL as a simple query and reads the answer. */
export function runSql(runner: Runner, sql: string): Answer {
  return readAnswer(runner.run(queryMessage(sql)))
}

/** First column of the first row; throws what the statement failed with. */
export function valueOf(runner: Runner, sql: string): string | null | undefined {
  const { error, result } = runSql(runner, sql)
  if (error) throw new Error(`${error.sqlState} ${error.message}`)
  return result.rows[0]?.[0]
}
