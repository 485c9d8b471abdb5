import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TenantName } from '../../base/ids.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { TenantFolder } from './tenant-folder.ts'

test('files that no tenant can have made are passed over, a reserved name too', async () => {
  using temporary = temporaryFolder()
  const { path } = temporary
  const strays = ['pgnap.db', 'template1.db', 'Acme.db', '.db', 'a b.db', 'notes.txt', 'b.db-wal']
  for (const file of ['b.db', 'a.db', ...strays]) writeFileSync(join(path, file), 'four')
  const folder = new TenantFolder(path)
  const names = (await Array.fromAsync(folder.names())).flat()
  assert.deepEqual(names.toSorted(), ['a', 'b'])
  assert.equal(folder.find('a' as TenantName)?.storedBytes, 4)
  assert.equal(folder.find('b' as TenantName)?.storedBytes, 8)
  assert.equal(folder.find('nobody' as TenantName), undefined)
  const beside = folder.beside('a' as TenantName)
  assert.deepEqual(beside.names(), ['b'])
  for (const name of ['a', 'pgnap', 'Acme', '../b', 'nobody', '']) {
    assert.equal(beside.bytesOf(name), undefined)
  }
  assert.equal(beside.bytesOf('b'), 8)
})

test('a folder that cannot be read is told of as such', () => {
  using temporary = temporaryFolder()
  const beside = new TenantFolder(join(temporary.path, 'gone')).beside('a' as TenantName)
  assert.throws(() => beside.names(), { code: 'STORE_IO' })
})

test('a folder of more names than are read in one go is read some at a time', async () => {
  using temporary = temporaryFolder()
  const all = Array.from({ length: 1_100 }, (_, index) => `t${1_000 + index}`)
  for (const name of all) writeFileSync(join(temporary.path, `${name}.db`), '')
  const pieces = await Array.fromAsync(new TenantFolder(temporary.path).names())
  assert.deepEqual(pieces.flat().toSorted(), all)
  assert.deepEqual(
    pieces.map(({ length }) => length),
    [512, 512, 76],
  )
})
