/**
 * A shard's thread begins here, with nothing but the caches of compiled code: they must be on
 * before the code that they are for is loaded, and a thread does not inherit them.
 */
import { fileURLToPath } from 'node:url'
import { keepCompiledCode } from '../cache-folder.ts'
import { requireKept } from '../kept-code.ts'

const isSource = import.meta.url.endsWith('.ts')
keepCompiledCode()
// The package has it as one script, because of a script more can be kept.
const body = new URL(`./worker-body.${isSource ? 'ts' : 'cjs'}`, import.meta.url)
if (isSource) await import(body.href)
else requireKept(fileURLToPath(body))
