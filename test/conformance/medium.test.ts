import { join } from 'node:path'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import { mediumConformance } from './medium.ts'
import { bucketPlace } from '../support/bucket-place.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()
let files = 0

mediumConformance('node:sqlite on a file', () => {
  const path = join(folder, `${files++}.db`)
  const open = (): NodeSqliteMedium => new NodeSqliteMedium(path)
  return { open, reopen: open }
})

mediumConformance('node:sqlite in memory', () => ({ open: () => NodeSqliteMedium.inMemory() }))

mediumConformance('faulty, with an empty plan', () => ({
  open: () => new FaultyMedium(NodeSqliteMedium.inMemory()),
}))

mediumConformance('sql.js over a folder', () => bucketPlace(join(folder, `bucket-${files++}`)))
