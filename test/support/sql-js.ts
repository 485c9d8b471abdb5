/** SQLite in WebAssembly for tests. */
import { createRequire } from 'node:module'
import initSqlJs, { type SqlJsStatic } from 'sql.js'

let loading: Promise<SqlJsStatic> | undefined

/** One for all tests of a process: limits that are set in it are for everybody. */
export function sqlJs(): Promise<SqlJsStatic> {
  return (loading ??= initSqlJs())
}

/** One of one's own. The package makes one for each time that its code is evaluated. */
export function ownSqlJs(): Promise<SqlJsStatic> {
  const require = createRequire(import.meta.url)
  Reflect.deleteProperty(require.cache, require.resolve('sql.js'))
  return (require('sql.js') as typeof initSqlJs)()
}
