/**
 * A shard's thread begins here, with nothing but the caches of compiled code: they must be on
 * before the code that they are for is loaded, and a thread does not inherit them.
 */
import { keepCompiledCode } from '../cache-folder.ts'
import { runBeside } from '../kept-code.ts'

keepCompiledCode()
await runBeside(import.meta.url, './worker-body')
