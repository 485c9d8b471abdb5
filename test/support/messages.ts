/** Frontend messages for tests that drive a backend or a server without a driver. */
import { FRONTEND } from '../../src/front/wire/frame.ts'
import { MessageWriter } from '../../src/front/wire/message-writer.ts'
import { queryMessage, readAnswer, type Answer } from '../../src/front/wire/result.ts'

/** Single messages of a client. */
export const say = {
  query: (sql: string): Uint8Array => message(FRONTEND.query, (w) => w.string(sql)),
  parse: (name: string, sql: string, typeOids: readonly number[] = []): Uint8Array =>
    message(FRONTEND.parse, (w) => {
      w.string(name).string(sql).int16(typeOids.length)
      for (const oid of typeOids) w.int32(oid)
    }),
  /** Parameters and results as text. */
  bind: (
    portal: string,
    statement: string,
    parameters: readonly (string | null)[] = [],
  ): Uint8Array =>
    message(FRONTEND.bind, (w) => {
      w.string(portal).string(statement).int16(0).int16(parameters.length)
      for (const parameter of parameters) w.value(parameter)
      w.int16(0)
    }),
  /** A prepared statement, or the portal without a name. */
  describe: (statement?: string): Uint8Array =>
    message(FRONTEND.describe, (w) =>
      w.text(statement === undefined ? 'P' : 'S').string(statement ?? ''),
    ),
  execute: (portal: string): Uint8Array =>
    message(FRONTEND.execute, (w) => w.string(portal).int32(0)),
  /** Of a prepared statement. */
  close: (name: string): Uint8Array => message(FRONTEND.close, (w) => w.text('S').string(name)),
  sync: (): Uint8Array => message(FRONTEND.sync),
  flush: (): Uint8Array => message(FRONTEND.flush),
  terminate: (): Uint8Array => message(FRONTEND.terminate),
  copyData: (data: string): Uint8Array => message(FRONTEND.copyData, (w) => w.text(data)),
  copyDone: (): Uint8Array => message(FRONTEND.copyDone),
  copyFail: (reason: string): Uint8Array => message(FRONTEND.copyFail, (w) => w.string(reason)),
  startup: (parameters: Readonly<Record<string, string>>, version: number = 3 << 16): Uint8Array =>
    message(0, (w): void => {
      w.int32(version)
      for (const [name, value] of Object.entries(parameters)) w.string(name).string(value)
      w.int8(0)
    }),
  password: (body: (writer: MessageWriter) => void): Uint8Array => message(FRONTEND.password, body),
}

function message(type: number, body: (writer: MessageWriter) => void = () => {}): Uint8Array {
  const writer = new MessageWriter().begin(type)
  body(writer)
  return writer.end().copy()
}

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
