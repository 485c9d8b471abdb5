/** Every architecture by its prefix, in the order in which docs/architectures.md tells of them. */
import type { Architecture } from './architecture.ts'
import { consumer } from './consumer.ts'
import { factory } from './factory.ts'
import { hybrid } from './hybrid.ts'
import { lazyWasm } from './lazy-wasm.ts'
import { pooled } from './pooled.ts'
import { sqlite } from './sqlite.ts'
import { thin } from './thin.ts'
import { traditional } from './traditional.ts'
import { warmProxy } from './warm-proxy.ts'
import { ws } from './ws.ts'

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  traditional,
  hybrid,
  thin,
  'lazy-wasm': lazyWasm,
  factory,
  consumer,
  'warm-proxy': warmProxy,
  ws,
  pooled,
  sqlite,
}
