import { join } from 'node:path'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import { storeConformance } from './store.ts'
import { bucketPlace } from '../support/bucket-place.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()
let files = 0

storeConformance('node:sqlite on a file', () => {
  const path = join(folder, `${files++}.db`)
  // Relaxed, because what is tested here is not the disk; reopening is real.
  return { open: () => new NodeSqliteMedium(path, { synchronous: 'NORMAL' }) }
})

/** Closing would forget; what is opened again is the store, on a medium that stays. */
class KeptMedium extends FaultyMedium {
  override [Symbol.dispose](): void {}
}

storeConformance('node:sqlite in memory', () => {
  const medium = NodeSqliteMedium.inMemory()
  return { open: () => new KeptMedium(medium) }
})

// Each settling writes and syncs the whole database.
storeConformance(
  'sql.js over a folder',
  () => {
    const { reopen, settle } = bucketPlace(join(folder, `bucket-${files++}`))
    return { open: reopen, settle }
  },
  { histories: 10, faultEvery: 5 },
)
