/**
 * Frontend messages of the Postgres protocol 3.0, built before the clock starts. The load generator
 * only ever writes finished bytes: building messages inside the measured loop would measure us.
 */

const PROTOCOL_3_0 = 196_608
const TEXT = 0

/** First message of a connection. It has no type byte. */
export function startupMessage(user: string, database: string): Buffer {
  const body = cStrings('user', user, 'database', database, '')
  const head = Buffer.alloc(8)
  head.writeUInt32BE(body.length + 8, 0)
  head.writeUInt32BE(PROTOCOL_3_0, 4)
  return Buffer.concat([head, body])
}

/** One simple query: the backend answers up to ReadyForQuery. */
export function queryMessage(sql: string): Buffer {
  return message('Q', cStrings(sql))
}

/** Parses `sql` once under `statement`, with Sync. Parameter types are left to the server. */
export function prepareMessage(statement: string, sql: string): Buffer {
  return Buffer.concat([
    message('P', Buffer.concat([cStrings(statement, sql), int16(0)])),
    message('S', Buffer.alloc(0)),
  ])
}

/** Bind, Describe, Execute and Sync of a prepared statement in one write, as libpq sends them. */
export function executeMessage(statement: string, parameters: readonly string[]): Buffer {
  const values = parameters.flatMap((parameter) => {
    const bytes = Buffer.from(parameter)
    return [int32(bytes.length), bytes]
  })
  const bind = [
    cStrings('', statement),
    int16(0),
    int16(parameters.length),
    ...values,
    int16(1),
    int16(TEXT),
  ]
  return Buffer.concat([
    message('B', Buffer.concat(bind)),
    message('D', Buffer.concat([Buffer.from('P'), cStrings('')])),
    message('E', Buffer.concat([cStrings(''), int32(0)])),
    message('S', Buffer.alloc(0)),
  ])
}

/** Says goodbye, so that the server need not find out. */
export const TERMINATE_MESSAGE: Buffer = message('X', Buffer.alloc(0))

function message(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

function cStrings(...texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `${text}\0`).join(''))
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
