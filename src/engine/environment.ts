/** Where Postgres finds itself: its place among the files of an instance, and its environment. */

/** Where PGlite's build is installed. */
export const WASM_PREFIX = '/pglite'

/** What initdb and Postgres find in their environment; the same values as in stock PGlite. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  HOME: '/home/postgres',
  USER: 'postgres',
  LOGNAME: 'postgres',
  PGDATA: '/pglite/data',
  PGUSER: 'postgres',
  PGDATABASE: 'postgres',
  LANG: 'en_US.UTF-8',
  LC_COLLATE: 'en_US.UTF-8',
  LC_CTYPE: 'en_US.UTF-8',
  TZ: 'UTC',
  PGTZ: 'UTC',
  PGCLIENTENCODING: 'UTF8',
  ICU_DATA: `${WASM_PREFIX}/icu`,
}
