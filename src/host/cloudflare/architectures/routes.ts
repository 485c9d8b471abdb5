/** Every architecture by its prefix, in the order in which docs/architectures.md tells of them. */
import type { Architecture } from './architecture.ts'
import { consumer } from './consumer.ts'
import { factory } from './factory.ts'
import { hybrid } from './hybrid.ts'
import { pooled } from './pooled.ts'
import { thin } from './thin.ts'
import { ws } from './ws.ts'

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  hybrid,
  thin,
  factory,
  consumer,
  ws,
  pooled,
}
