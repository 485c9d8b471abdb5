/**
 * sql.js as Workers can run it: its build for browsers, which takes itself for one of their workers
 * there and would ask for its own address. Its code is compiled ahead, like the engine's.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const read = (name: string): Buffer => readFileSync(require.resolve(`sql.js/dist/${name}`))

/** Exactly one must be there: another release fails here and not in somebody's Worker. */
const IS_WORKER = '!!globalThis.WorkerGlobalScope'

/** Its program, as a module. */
export function adaptedSqlJs(): string {
  const parts = read('sql-wasm-browser.js').toString('utf8').split(IS_WORKER)
  if (parts.length !== 2) throw new Error(`sql.js has "${IS_WORKER}" ${parts.length - 1} times`)
  // It is written for CommonJS, whose variables it sets.
  const body = `${parts.join('false')}\nreturn initSqlJs`
  return `export default ((module, exports) => {\n${body}\n})({}, {})`
}

/** Its code. */
export function sqlJsCode(): Uint8Array {
  return read('sql-wasm-browser.wasm')
}
