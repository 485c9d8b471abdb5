/** Every architecture by its prefix, in the order in which docs/architectures.md tells of them. */
import type { Architecture } from './architecture.ts'
import { lazyWasm } from './lazy-wasm.ts'
import { pooled } from './pooled.ts'
import { sqlite } from './sqlite.ts'
import { thin } from './thin.ts'
import { traditional } from './traditional.ts'
import { warmProxy } from './warm-proxy.ts'

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  traditional,
  thin,
  'lazy-wasm': lazyWasm,
  'warm-proxy': warmProxy,
  pooled,
  sqlite,
}
