/** Every architecture by its prefix, in the order in which docs/architectures.md tells of them. */
import type { Architecture } from './architecture.ts'
import { pooled } from './pooled.ts'
import { sqlite } from './sqlite.ts'

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = { pooled, sqlite }
