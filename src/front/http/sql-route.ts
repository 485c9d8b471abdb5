/**
 * `POST /sql`: statements in the wire format of Neon's serverless driver, so that the driver and
 * the query builders on top of it work unmodified with `fetchEndpoint` set to this URL. The tenant
 * is the database of the connection string in the header.
 *
 *   {"query", "params"}         one statement
 *   {"queries": [{...}, ...]}   a batch: all of them in one transaction, or none
 */
import { Hono } from 'hono'
import type { Context } from 'hono'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Batch, Control, Statement } from '../control.ts'
import {
  encodeParameters,
  jsonReaders,
  readRowArrays,
  readRowObjects,
  textReaders,
} from '../values.ts'
import type { ResultSet } from '../wire/result.ts'
import { STATEMENT_ANSWER_BYTES_MAX, checkRows, jsonResult, timedAnswer } from './answers.ts'
import { signalOf } from './body-hold.ts'
import { type GuardOptions, checkPassword, checkToken } from './guard.ts'
import {
  type JsonObject,
  bearerToken,
  jsonObject,
  optionalFlag,
  optionalList,
  readConnectionString,
  readJsonObject,
  requiredText,
} from './request.ts'

export interface SqlRouteOptions extends GuardOptions {
  readonly control: Control
}

/** A statement, and how its rows are to be written. */
interface Query {
  readonly statement: Pick<Statement, 'sql' | 'parameters'>
  readonly arrayMode: boolean
}

const BATCH_HEADERS = [
  'Neon-Batch-Isolation-Level',
  'Neon-Batch-Read-Only',
  'Neon-Batch-Deferrable',
] as const
const [LEVEL_HEADER, READ_ONLY_HEADER, DEFERRABLE_HEADER] = BATCH_HEADERS

const LEVELS: Readonly<Record<string, NonNullable<Batch['isolationLevel']>>> = {
  ReadUncommitted: 'readUncommitted',
  ReadCommitted: 'readCommitted',
  RepeatableRead: 'repeatableRead',
  Serializable: 'serializable',
}

/** The route, to be mounted at `/sql`. */
export function sqlRoute(options: SqlRouteOptions): Hono {
  const { control, authenticateToken, domain } = options
  const route = new Hono()
  route.post('/', async (context) => {
    const target = readConnectionString(context.req.header('Neon-Connection-String'), domain)
    const token = bearerToken(context.req.header('Authorization'))
    // Whoever shows a token is judged by it: a password beside it does not make up for a bad one.
    if (authenticateToken && token !== undefined) {
      await checkToken(authenticateToken, token, target.tenant)
    } else await checkPassword(options, context, target, target.tenant)
    const body = await readJsonObject(context, target.tenant)
    const signal = signalOf(context)
    const answerBytesMax = STATEMENT_ANSWER_BYTES_MAX
    if (!('queries' in body)) {
      const query = readQuery(context, body)
      const statement = { ...query.statement, answerBytesMax }
      const { result, timings } = await control.query(target.tenant, statement, signal)
      checkRows([{ result, arrayMode: query.arrayMode }])
      return timedAnswer(context, timings, neonResult(context, query, result))
    }
    const queries = readQueries(context, body)
    const statements = queries.map(({ statement }) => statement)
    const batch = { statements, answerBytesMax, ...transactionModes(context) }
    const { results, timings } = await control.transaction(target.tenant, batch, signal)
    const answered = queries.map((query, at) => ({ query, result: results[at] as ResultSet }))
    checkRows(answered.map(({ query, result }) => ({ result, arrayMode: query.arrayMode })))
    for (const name of BATCH_HEADERS) context.header(name, context.req.header(name))
    return timedAnswer(context, timings, {
      results: answered.map(({ query, result }) => neonResult(context, query, result)),
    })
  })
  return route
}

function readQuery(context: Context, body: JsonObject): Query {
  const sql = requiredText(body, 'query', '{"query": "select $1::int", "params": [1]}')
  const parameters = encodeParameters(optionalList(body, 'params'))
  const arrayMode = optionalFlag(body, 'arrayMode') ?? isSet(context, 'Neon-Array-Mode')
  return { statement: { sql, parameters }, arrayMode }
}

function readQueries(context: Context, body: JsonObject): Query[] {
  const list = optionalList(body, 'queries')
  if (list.length > LIMITS.httpBatchQueriesMax) {
    throw new PgnapError('REQUEST_INVALID', `${list.length} queries are too many for one batch`, {
      hint: `send at most ${LIMITS.httpBatchQueriesMax} (the limit httpBatchQueriesMax) at once`,
    })
  }
  return list.map((each, at) => readQuery(context, jsonObject(each, `query ${at + 1}`)))
}

function transactionModes(context: Context): Omit<Batch, 'statements'> {
  const name = context.req.header(LEVEL_HEADER)
  const modes = {
    readOnly: isSet(context, READ_ONLY_HEADER),
    deferrable: isSet(context, DEFERRABLE_HEADER),
  }
  if (name === undefined) return modes
  const isolationLevel = Object.hasOwn(LEVELS, name) ? LEVELS[name] : undefined
  if (isolationLevel !== undefined) return { ...modes, isolationLevel }
  throw new PgnapError('REQUEST_INVALID', `${LEVEL_HEADER} is no isolation level`, {
    hint: `send one of ${Object.keys(LEVELS).join(', ')}`,
  })
}

function neonResult(context: Context, { arrayMode }: Query, result: ResultSet): unknown {
  const readers = isSet(context, 'Neon-Raw-Text-Output') ? textReaders : jsonReaders
  const readRows = arrayMode ? readRowArrays : readRowObjects
  return { ...jsonResult(result, readRows(result, readers)), rowAsArray: arrayMode }
}

/** Only this very text counts, as with Neon. */
function isSet(context: Context, header: string): boolean {
  return context.req.header(header) === 'true'
}
