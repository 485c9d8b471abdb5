import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Store } from '../../store/store.ts'
import { Template } from '../../store/template.ts'
import { storeOptions } from '../../../test/support/store-options.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'
import { NodeSqliteMedium } from './sqlite-medium.ts'
import { closeWhole } from './whole-file.ts'

const folder = testFolder()

test('a log that is left after closing is an error, whatever SQLite says', () => {
  const path = join(folder, 'left.db')
  const store = Store.open(new NodeSqliteMedium(path), storeOptions(Template.empty()))
  const leaving = {
    checkpoint: () => store.checkpoint(),
    close: () => {
      store.close()
      writeFileSync(`${path}-wal`, 'what could not be written')
    },
  }
  assert.throws(() => closeWhole(leaving, path), { code: 'STORE_IO', hint: /disk/ })
  rmSync(`${path}-wal`)
  closeWhole(Store.open(new NodeSqliteMedium(path), storeOptions(Template.empty())), path)
  assert.equal(existsSync(`${path}-wal`), false)
})

test('a checkpoint that fails says why, and the store is closed', () => {
  const path = join(folder, 'full.db')
  const store = Store.open(new NodeSqliteMedium(path), storeOptions(Template.empty()))
  const failure = new Error('no room')
  const full = {
    checkpoint: () => {
      throw failure
    },
    close: () => store.close(),
  }
  assert.throws(() => closeWhole(full, path), failure)
  using again = new NodeSqliteMedium(path)
  assert.deepEqual(again.damage(), [], 'its lock is free')
})
