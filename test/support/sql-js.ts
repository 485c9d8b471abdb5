/** sql.js on Node, loaded once per process. */
import initSqlJs, { type SqlJsStatic } from 'sql.js'

let loading: Promise<SqlJsStatic> | undefined

export function sqlJs(): Promise<SqlJsStatic> {
  return (loading ??= initSqlJs())
}
