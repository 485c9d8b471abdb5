/** All rows, in the order in which a run has them: one file per claim. */
import type { Row } from './harness.ts'
import { besideRow } from './rows/beside.ts'
import { createRow } from './rows/create.ts'
import { densityRow } from './rows/density.ts'
import { insertRow } from './rows/insert.ts'
import { pointRow } from './rows/point.ts'
import { oneTenantRow } from './rows/one-tenant.ts'
import { manyRow } from './rows/many.ts'
import { neighbourRow } from './rows/neighbour.ts'
import { registeredRow } from './rows/registered.ts'
import { startRow } from './rows/start.ts'
import { swapRow } from './rows/swap.ts'
import { wakeColdRow } from './rows/wake-cold.ts'
import { wakeRow } from './rows/wake.ts'
import { density10kRow } from './rows/density-10k.ts'

export const ROWS: readonly Row[] = [
  createRow,
  wakeRow,
  wakeColdRow,
  swapRow,
  pointRow,
  insertRow,
  oneTenantRow,
  besideRow,
  manyRow,
  neighbourRow,
  startRow,
  densityRow,
  registeredRow,
  density10kRow,
]
