import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import { Template } from '../../store/template.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { systemClock } from './clock.ts'
import { StoreFactory } from './store-factory.ts'

const acme = 'acme' as TenantName

test('what a deletion has left behind is not taken for the new tenant of that name', () => {
  using folder = temporaryFolder()
  const tenantsPath = join(folder.path, 'tenants')
  mkdirSync(tenantsPath)
  const stores = new StoreFactory({
    dataPath: folder.path,
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
