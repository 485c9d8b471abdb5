/**
 * What answers look like: JSON under a limit, errors in one shape, Server-Timing.
 *
 * Two shapes of errors: that of /v1, `{ "error": { code, sqlState, message, hint, detail } }`, and
 * that of Neon's /sql, a flat object with the fields of Postgres, which drivers turn into their
 * own error class. Neither ever holds a stack or anything of another tenant.
 */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { utf8 } from '../../base/bytes.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Answer, ErrorFacts, Timings } from '../control.ts'
import { PostgresError, type ResultField, type ResultSet } from '../wire/result.ts'

/** A column in the form of node-postgres and of Neon. */
interface JsonField {
  readonly name: string
  readonly tableID: number
  readonly columnID: number
  readonly dataTypeID: number
  readonly dataTypeSize: number
  readonly dataTypeModifier: number
  readonly format: 'text'
}

/** A result, and whether its rows are to be arrays. */
export interface RowsToWrite {
  readonly result: ResultSet
  readonly arrayMode: boolean
}

export interface ErrorAnswer {
  readonly status: number
  readonly body: unknown
}

/** Letters of an ErrorResponse by the names that drivers give them. */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  message: 'M',
  code: 'C',
  severity: 'V',
  detail: 'D',
  hint: 'H',
  position: 'P',
  internalPosition: 'p',
  internalQuery: 'q',
  where: 'W',
  schema: 's',
  table: 't',
  column: 'c',
  dataType: 'd',
  constraint: 'n',
  file: 'F',
  line: 'L',
  routine: 'R',
}

/**
 * What a statement may answer to a request. JSON of the same rows is never four times as short (a
 * row of one digit is `[1],` here and twelve bytes there), but for blanks inside of json values.
 */
export const STATEMENT_ANSWER_BYTES_MAX: number = 4 * LIMITS.httpAnswerBytesMax

/**
 * Throws ANSWER_TOO_LARGE if results are too large as JSON even with the shortest values, by a look
 * at their columns and the count of their rows. To be asked before a row is made an object: with
 * long names of columns, objects are twenty times as large as what the backend has answered.
 */
export function checkRows(results: readonly RowsToWrite[]): void {
  const least = results.reduce((sum, each) => sum + leastRowsBytes(each), 0)
  if (least > LIMITS.httpAnswerBytesMax) throw tooLarge(`at least ${least}`)
}

/** What the rows of a result take at least, as JSON. */
export function leastRowsBytes({ result: { fields, rows }, arrayMode }: RowsToWrite): number {
  return rows.length * leastRowBytes(fields, arrayMode)
}

/** Of `{"a":1,"b":1},` or `[1,1],`. */
function leastRowBytes(fields: readonly ResultField[], arrayMode: boolean): number {
  if (arrayMode) return 3 + Math.max(0, 2 * fields.length - 1)
  let bytes = 2
  for (const name of new Set(fields.map((field) => field.name))) bytes += name.length + 5
  return Math.max(3, bytes)
}

/** Writes `body` as JSON. Throws ANSWER_TOO_LARGE beyond LIMITS.httpAnswerBytesMax. */
export function jsonAnswer(context: Context, body: unknown, status: number = 200): Response {
  const bytes = utf8(JSON.stringify(body))
  if (bytes.length > LIMITS.httpAnswerBytesMax) throw tooLarge(String(bytes.length))
  context.header('Content-Type', 'application/json')
  return context.body(bytes, status as ContentfulStatusCode)
}

function tooLarge(count: string): PgnapError {
  return new PgnapError(
    'ANSWER_TOO_LARGE',
    `the answer has ${count} bytes, more than the ${LIMITS.httpAnswerBytesMax} allowed`,
    { hint: 'add a limit clause, or read large results over the Postgres wire protocol' },
  )
}

/** What a query gave: `rows` in the form that was asked for, and its timing. */
export function queryAnswer(
  context: Context,
  { result, timings }: Answer,
  rows: unknown,
): Response {
  return timedAnswer(context, timings, jsonResult(result, rows))
}

/** The answer to statements: `body`, and where the time went. */
export function timedAnswer(context: Context, timings: Timings, body: unknown): Response {
  context.header('Server-Timing', queryTiming(timings))
  return jsonAnswer(context, body)
}

/** A result with `rows` in the form that was asked for. */
export function jsonResult(result: ResultSet, rows: unknown): Readonly<Record<string, unknown>> {
  const { fields, command, rowCount } = result
  return { fields: fields.map(jsonField), rows, command, rowCount }
}

function jsonField(field: ResultField): JsonField {
  return {
    name: field.name,
    tableID: field.tableOid,
    columnID: field.columnNumber,
    dataTypeID: field.typeOid,
    dataTypeSize: field.typeBytes,
    dataTypeModifier: field.typeModifier,
    format: 'text',
  }
}

/** An error in the shape of /v1. What is not an error of ours or of Postgres is INTERNAL. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof PostgresError) {
    const { code, message, detail, hint, ...others } = namedFields(error)
    const body = { code: 'POSTGRES', sqlState: code, message, hint, detail, ...others }
    return { status: 400, body: { error: body } }
  }
  const known = toPgnapError(error)
  return { status: known.httpStatus, body: { error: errorFacts(known) } }
}

export function errorFacts(error: PgnapError): ErrorFacts {
  const { code, sqlState, message, hint = null, detail = null } = error
  return { code, sqlState, message, hint, detail }
}

/** Refused and too large are told by the status; a driver's user needs no fields for them. */
const TOLD_BY_STATUS: ReadonlySet<number> = new Set([403, 405, 413])

/**
 * An error in the shape of Neon's /sql. Drivers read the fields only at status 400, so that is the
 * status of what the caller has to fix in the statement, the connection string or the password.
 */
export function neonErrorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof PostgresError) return { status: 400, body: namedFields(error) }
  const { sqlState, kind, message, hint, detail, httpStatus } = toPgnapError(error)
  const told = TOLD_BY_STATUS.has(httpStatus) || httpStatus >= 500 || kind !== 'fix'
  const fields = { C: sqlState, V: 'ERROR', M: message }
  const more = { ...(hint && { H: hint }), ...(detail && { D: detail }) }
  const body = namedFields(new PostgresError({ ...fields, ...more }))
  return { status: told ? httpStatus : 400, body }
}

function namedFields(error: PostgresError): Record<string, string | null> {
  return Object.fromEntries(
    Object.entries(FIELD_NAMES).map(([name, letter]) => [name, error.fields[letter] ?? null]),
  )
}

/** The Server-Timing header of a query. */
function queryTiming(timings: Timings): string {
  const { routeMs, queueMs, wakeMs, wokenFrom, executeMs, persistMs } = timings
  return [
    `route;dur=${decimal(routeMs)}`,
    `queue;dur=${decimal(queueMs)}`,
    `wake;dur=${decimal(wakeMs)};desc="${wokenFrom}"`,
    `exec;dur=${decimal(executeMs)}`,
    `persist;dur=${decimal(persistMs)}`,
  ].join(', ')
}

/** The Server-Timing header of everything else. */
export function totalTiming(totalMs: number): string {
  return `total;dur=${decimal(totalMs)}`
}

function decimal(durationMs: number): string {
  return String(Math.round(durationMs * 1000) / 1000)
}
