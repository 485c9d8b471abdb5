/**
 * pgnap: a Postgres for every tenant.
 *
 * @example
 * import { openPgnap } from 'pgnap'
 * await using nap = await openPgnap({ data: './data' })
 * const { rows } = await nap.tenant('acme').query('select $1::int + 1 as n', [41])
 */
export { PgnapError, type ErrorCode, type ErrorKind } from './base/errors.ts'
export { PostgresError } from './front/wire/result.ts'
export type { Pgnap } from './front/library.ts'
export { openPgnap, type OpenOptions } from './host/node/open-pgnap.ts'
