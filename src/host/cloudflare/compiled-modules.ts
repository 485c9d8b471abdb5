/**
 * Stands for `new WebAssembly.Module(bytes)` in PGlite's glue: a Worker must not compile code at
 * run time, so everything that can be asked for was compiled ahead, with the program.
 */
import { functions, libraries } from 'pgnap:modules'
import { PgnapError } from '../../base/errors.ts'
import { nameOnTicket } from '../../engine/library-ticket.ts'

/** The largest of what Emscripten makes to lend a JavaScript function has 41 bytes. */
const FUNCTION_BYTES_MAX = 100

/**
 * The compiled module for a library's ticket, or for what Emscripten makes of a signature.
 * @throws PgnapError ENGINE_ASSETS_INVALID for anything else: the build has missed it
 */
export function compiled(bytes: Uint8Array): WebAssembly.Module {
  const isFunction = bytes.length <= FUNCTION_BYTES_MAX && functions.has(bytes.join())
  const found = isFunction ? functions.get(bytes.join()) : libraries.get(nameOnTicket(bytes) ?? '')
  if (found) return found
  throw new PgnapError('ENGINE_ASSETS_INVALID', 'code that was not compiled with this Worker', {
    detail: `${bytes.length} bytes`,
    hint: 'build the Worker again: npm run build:cloudflare',
  })
}
