/** sql.js with the code that was compiled with the Worker: once per isolate. */
import initSqlJs, { code } from 'pgnap:sql-js'
import type { SqlJsStatic } from 'sql.js'

let loading: Promise<SqlJsStatic> | undefined

/** Nothing in it waits for anything outside, so no request waits for another. */
export function theSqlJs(): Promise<SqlJsStatic> {
  return (loading ??= initSqlJs({
    instantiateWasm: (imports, done) => {
      done(new WebAssembly.Instance(code, imports))
    },
  }))
}
