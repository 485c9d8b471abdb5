import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type LogFields, silentLog } from '../../../base/log.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { systemClock as clock } from '../clock.ts'
import { JournalFile } from './journal-file.ts'
import { JOURNAL_SUFFIX, journalsPath } from './journal-folder.ts'
import { closeSettledFolder, openSettledFolder } from './settled-folder.ts'

const FILE_BYTES = 640
const root = testFolder()
let count = 0

/** As a thread leaves it that has died. */
async function leaveJournal(dataPath: string): Promise<void> {
  const folder = journalsPath(dataPath)
  mkdirSync(folder, { recursive: true })
  const file = await JournalFile.make(join(folder, `${++count}${JOURNAL_SUFFIX}`), FILE_BYTES)
  file.restart(1)
  await file.sync()
  file.close()
}

const files = (dataPath: string): string[] => readdirSync(journalsPath(dataPath))

test('a folder has no journals when it is opened, and when it is given up', async () => {
  const path = join(root, 'both')
  await leaveJournal(path)
  const folder = await openSettledFolder({ path, clock }, silentLog)
  assert.deepEqual(files(path), [])
  await leaveJournal(path)
  await closeSettledFolder(folder, { clock, log: silentLog })
  assert.deepEqual(files(path), [])
  using next = await openSettledFolder({ path, clock }, silentLog)
  assert.ok(next.isHeld && !folder.isHeld)
  await leaveJournal(path)
  await closeSettledFolder(folder, { clock, log: silentLog })
  assert.equal(files(path).length, 1, 'it is the next one’s')
})

test('what cannot be settled does not keep a folder from being given up, and is said', async () => {
  const path = join(root, 'unreadable')
  const folder = await openSettledFolder({ path, clock }, silentLog)
  const unreadable = join(journalsPath(path), `folder${JOURNAL_SUFFIX}`)
  mkdirSync(unreadable, { recursive: true })
  const warnings: LogFields[] = []
  const log = {
    ...silentLog,
    warn: (_: string, facts: LogFields = {}) => void warnings.push(facts),
  }
  await closeSettledFolder(folder, { clock, log })
  assert.equal(warnings.length, 1)
  // Its lock is free again, whether the next one can be opened or not.
  const opening = openSettledFolder({ path, clock }, silentLog)
  await assert.rejects(opening, { code: 'STORE_IO', message: /journal/ })
  rmSync(unreadable, { recursive: true })
  const again = await openSettledFolder({ path, clock }, silentLog)
  again[Symbol.dispose]()
})
