/**
 * Questions and answers for callers inside pgnap that speak SQL and not the protocol: HTTP handlers
 * and the library. Text format only: what the values mean is the caller's business.
 *
 * Not on the wire's path: a wire client gets the backend's bytes as they are.
 */
import { PgnapError } from '../../base/errors.ts'
import { BodyReader } from './body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, FRONTEND, frameEnd } from './frame.ts'
import { MessageWriter } from './message-writer.ts'

/** One column of a result, as RowDescription tells it. */
export interface ResultField {
  readonly name: string
  readonly tableOid: number
  /** Attribute number in its table; 0 if it is not a column of one. */
  readonly columnNumber: number
  readonly typeOid: number
  /** Bytes; negative if the length varies. */
  readonly typeBytes: number
  readonly typeModifier: number
}

/** What one statement returned. */
export interface ResultSet {
  readonly fields: readonly ResultField[]
  /** Values as Postgres writes them; null for NULL. */
  readonly rows: readonly (readonly (string | null)[])[]
  /** First word of the command tag (`SELECT`, `INSERT`, ...); empty for an empty statement. */
  readonly command: string
  /** Rows returned or changed; null where the command tag has no number. */
  readonly rowCount: number | null
}

/**
 * Fields of an error, by the letters that Postgres gives them (manual, section 54.8):
 * `V` severity, `C` SQLSTATE, `M` message, `D` detail, `H` hint, `P` position, `n` constraint, ...
 */
export type MessageFields = Readonly<Record<string, string>>

/** What Postgres itself said no with; errors of pgnap are PgnapErrors. */
export class PostgresError extends Error {
  override readonly name = 'PostgresError'
  /** As over HTTP, and as each error of pgnap has one. */
  readonly code = 'POSTGRES'
  readonly fields: MessageFields
  readonly sqlState: string
  /** `ERROR`, `FATAL` or `PANIC`, never translated. */
  readonly severity: string

  constructor(fields: MessageFields) {
    super(fields['M'] ?? '')
    this.fields = fields
    this.sqlState = fields['C'] ?? 'XX000'
    this.severity = fields['V'] ?? fields['S'] ?? 'ERROR'
  }
}

export interface Answer {
  /** Of the last statement that has finished: usually there is one. */
  readonly result: ResultSet
  /** The first error. Later statements of the batch have not run. */
  readonly error: PostgresError | undefined
}

const NO_RESULT: ResultSet = { fields: [], rows: [], command: '', rowCount: null }

/** A Query message. Throws PROTOCOL_VIOLATION if `sql` holds a zero character. */
export function queryMessage(sql: string): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(FRONTEND.query).string(sql).end().copy()
}

/**
 * One statement with text parameters: Parse, Bind, Describe, Execute and Sync, all unnamed. Throws
 * PROTOCOL_VIOLATION if `sql` holds a zero character or there are more than 65,535 parameters.
 */
export function queryMessages(
  sql: string,
  parameters: readonly (string | null)[],
): Uint8Array<ArrayBuffer> {
  if (parameters.length > 0xffff) {
    throw new PgnapError('PROTOCOL_VIOLATION', `${parameters.length} parameters are too many`, {
      hint: 'one statement takes 65535 parameters at most; pass an array instead',
    })
  }
  const writer = new MessageWriter()
  writer.begin(FRONTEND.parse).string('').string(sql).int16(0).end()
  writer.begin(FRONTEND.bind).string('').string('').int16(0).int16(parameters.length)
  for (const parameter of parameters) writer.value(parameter)
  writer.int16(0).end()
  writer.begin(FRONTEND.describe).text('P').string('').end()
  writer.begin(FRONTEND.execute).string('').int32(0).end()
  return writer.begin(FRONTEND.sync).end().copy()
}

/**
 * Reads a backend's answer. Throws PROTOCOL_VIOLATION if the bytes are not whole messages.
 * Everything in the result is the caller's own: nothing points into `answer`.
 */
export function readAnswer(answer: Uint8Array): Answer {
  const reader = new AnswerReader()
  let at = 0
  while (at < answer.length) {
    const next = frameEnd(answer, at, answer.length)
    if (next < 0) throw new PgnapError('PROTOCOL_VIOLATION', 'an answer ends inside a message')
    reader.message(answer[at] ?? 0, new BodyReader(answer, at + FRAME_HEAD_BYTES, next))
    at = next
  }
  return reader.answer()
}

class AnswerReader {
  #result: ResultSet = NO_RESULT
  #error: PostgresError | undefined
  #fields: readonly ResultField[] = []
  #rows: (string | null)[][] = []

  message(type: number, body: BodyReader): void {
    switch (type) {
      case BACKEND.dataRow:
        this.#rows.push(readList(body, () => readValue(body)))
        break
      case BACKEND.rowDescription:
        this.#fields = readList(body, () => readField(body))
        break
      case BACKEND.commandComplete:
        this.#finish(body.string())
        break
      case BACKEND.emptyQueryResponse:
        this.#finish('')
        break
      case BACKEND.errorResponse:
        this.#error ??= new PostgresError(readMessageFields(body))
        break
      default:
        // What is said of portals, settings, copies and the transaction is not for these callers.
        break
    }
  }

  answer(): Answer {
    return { result: this.#result, error: this.#error }
  }

  #finish(tag: string): void {
    const lastWord = tag.slice(tag.lastIndexOf(' ') + 1)
    const rowCount = /^[0-9]+$/.test(lastWord) ? Number(lastWord) : null
    const [command = ''] = tag.split(' ', 1)
    this.#result = { fields: this.#fields, rows: this.#rows, command, rowCount }
    this.#fields = []
    this.#rows = []
  }
}

function readList<Item>(body: BodyReader, read: () => Item): Item[] {
  const items: Item[] = []
  const count = body.int16() & 0xffff
  for (let index = 0; index < count; index++) items.push(read())
  return items
}

function readValue(body: BodyReader): string | null {
  const length = body.int32()
  return length < 0 ? null : body.text(length)
}

function readField(body: BodyReader): ResultField {
  const field = {
    name: body.string(),
    tableOid: body.int32() >>> 0,
    columnNumber: body.int16(),
    typeOid: body.int32() >>> 0,
    typeBytes: body.int16(),
    typeModifier: body.int32(),
  }
  body.int16()
  return field
}

function readMessageFields(body: BodyReader): MessageFields {
  const fields: Record<string, string> = {}
  for (let letter = body.int8(); letter !== 0; letter = body.int8()) {
    fields[String.fromCharCode(letter)] = body.string()
  }
  return fields
}
