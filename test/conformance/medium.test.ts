import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import { mediumConformance } from './medium.ts'

const folder = mkdtempSync(join(tmpdir(), 'pgnap-medium-'))
after(() => rmSync(folder, { recursive: true }))
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
