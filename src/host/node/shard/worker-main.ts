/**
 * A shard's thread begins here, with nothing but the compile cache: the cache must be on before the
 * code that it is for is loaded, and a thread does not inherit it.
 */
import { enableCompileCache } from 'node:module'

enableCompileCache()
await import('./worker-body.ts')
