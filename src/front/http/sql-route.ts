/**
 * `POST /sql`: one statement in the wire format of Neon's serverless driver, so that the driver
 * and the query builders on top of it work unmodified with `fetchEndpoint` set to this URL. The
 * tenant is the database of the connection string in the header.
 */
import { Hono } from 'hono'
import { PgnapError } from '../../base/errors.ts'
import type { Control } from '../control.ts'
import {
  encodeParameters,
  jsonReaders,
  readRowArrays,
  readRowObjects,
  textReaders,
} from '../values.ts'
import { STATEMENT_ANSWER_BYTES_MAX, queryAnswer } from './answers.ts'
import { type Authenticate, checkPassword } from './guard.ts'
import {
  optionalFlag,
  optionalList,
  readConnectionString,
  readJsonObject,
  requiredText,
} from './request.ts'

export interface SqlRouteOptions {
  readonly control: Control
  readonly authenticate?: Authenticate
}

/** The route, to be mounted at `/sql`. */
export function sqlRoute({ control, authenticate }: SqlRouteOptions): Hono {
  const route = new Hono()
  route.post('/', async (context) => {
    const target = readConnectionString(context.req.header('Neon-Connection-String'))
    if (authenticate) await checkPassword(authenticate, target, target.tenant)
    const body = await readJsonObject(context)
    if ('queries' in body) {
      throw new PgnapError('NOT_SUPPORTED', 'batches of queries are not supported over HTTP yet', {
        hint: 'send one {"query", "params"} at a time, or use the Postgres wire protocol',
      })
    }
    const sql = requiredText(body, 'query', '{"query": "select $1::int", "params": [1]}')
    const parameters = encodeParameters(optionalList(body, 'params'))
    const isSet = (header: string): boolean => context.req.header(header) === 'true'
    const arrayMode = optionalFlag(body, 'arrayMode') ?? isSet('Neon-Array-Mode')
    const readers = isSet('Neon-Raw-Text-Output') ? textReaders : jsonReaders
    const { signal } = context.req.raw
    const statement = { sql, parameters, answerBytesMax: STATEMENT_ANSWER_BYTES_MAX }
    const answer = await control.query(target.tenant, statement, signal)
    const readRows = arrayMode ? readRowArrays : readRowObjects
    return queryAnswer(context, answer, readRows(answer.result, readers), { rowAsArray: arrayMode })
  })
  return route
}
