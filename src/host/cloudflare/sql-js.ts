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

/** The next one who asks gets another, with memory of its own; databases of this one stay good. */
export function giveUpSqlJs(): void {
  loading = undefined
}
