import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TenantName } from '../../base/ids.ts'
import { TenantFolder } from './tenant-folder.ts'

test('files that no tenant can have made are passed over, a reserved name too', async () => {
  const path = mkdtempSync(join(tmpdir(), 'pgnap-test-'))
  try {
    const strays = ['pgnap.db', 'template1.db', 'Acme.db', '.db', 'a b.db', 'notes.txt', 'b.db-wal']
    for (const file of ['b.db', 'a.db', ...strays]) writeFileSync(join(path, file), 'four')
    const folder = new TenantFolder(path)
    const { tenants } = await folder.list({ limit: 10 })
    assert.deepEqual(
      tenants.map(({ name, storedBytes }) => [name, storedBytes]),
      [
        ['a', 4],
        ['b', 8],
      ],
    )
    assert.equal(folder.find('a' as TenantName)?.storedBytes, 4)
    assert.equal(folder.find('nobody' as TenantName), undefined)
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
})
