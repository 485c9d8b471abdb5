import assert from 'node:assert/strict'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import { Template } from '../../store/template.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { systemClock } from './clock.ts'
import { StoreFactory } from './store-factory.ts'
import { NodeTenantDirectory } from './tenant-directory.ts'

const acme = 'acme' as TenantName

function storesIn(dataPath: string): { stores: StoreFactory; tenantsPath: string } {
  const tenantsPath = join(dataPath, 'tenants')
  mkdirSync(tenantsPath)
  const stores = new StoreFactory({
    dataPath,
    tenantsPath,
    clock: systemClock,
    engine: {
      fingerprint: 'test' as Fingerprint,
      postgresMajor: 18,
      template: Template.empty(),
    },
    retentionMs: 0,
    createMissing: true,
  })
  return { stores, tenantsPath }
}

test('what a deletion has left behind is not taken for the new tenant of that name', () => {
  using folder = temporaryFolder()
  const { stores, tenantsPath } = storesIn(folder.path)
  const path = join(tenantsPath, 'acme.db')
  const secret = stores.open(acme)
  secret.files.create(secret.files.root, 'secret', 0o100600)
  secret.files.commit()
  // The log as a killed process leaves it; closing would remove it.
  copyFileSync(`${path}-wal`, `${path}-kept`)
  secret.close()
  copyFileSync(path, `${path}.deleted`)
  rmSync(path)
  copyFileSync(`${path}-kept`, `${path}-wal`)
  const next = stores.open(acme)
  assert.equal(next.pristine, true)
  assert.deepEqual(next.files.list(next.files.root), [])
  assert.equal(existsSync(`${path}.deleted`), false)
  next.close()
})

test('a link to a disk that is not mounted is not replaced by an empty tenant', async () => {
  using folder = temporaryFolder()
  const { stores, tenantsPath } = storesIn(folder.path)
  const path = join(tenantsPath, 'acme.db')
  const disk = join(folder.path, 'disk')
  symlinkSync(join(disk, 'acme.db'), path)
  const directory = new NodeTenantDirectory({ tenantsPath, createStore: stores.create })
  assert.equal(stores.exists(acme), true)
  await assert.rejects(directory.create(acme), { code: 'TENANT_EXISTS' })
  assert.throws(() => stores.open(acme), { code: 'STORE_IO' })
  // The place where it would be mounted.
  mkdirSync(disk)
  assert.throws(() => stores.open(acme), { code: 'STORE_CORRUPT' })
  assert.equal(lstatSync(path).isSymbolicLink(), true)
})

test('a file that has lost what was in it is not taken for a new tenant', () => {
  using folder = temporaryFolder()
  const { stores, tenantsPath } = storesIn(folder.path)
  const path = join(tenantsPath, 'acme.db')
  writeFileSync(path, '')
  assert.throws(() => stores.open(acme), { code: 'STORE_CORRUPT', hint: /backup/ })
  assert.throws(() => stores.openCopy(path), { code: 'STORE_CORRUPT' })
})
