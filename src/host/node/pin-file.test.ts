import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { PinFile, readPins } from './pin-file.ts'

const name = (text: string): TenantName => text as TenantName
const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof PgnapError && error.code === code && error.hint !== undefined

test('what is pinned is there for whoever reads it next', () => {
  using folder = temporaryFolder()
  assert.deepEqual(readPins(folder.path), [])
  const pins = new PinFile(folder.path)
  pins.add(name('zeta'))
  pins.add(name('acme'))
  pins.add(name('acme'))
  assert.deepEqual(readPins(folder.path), ['acme', 'zeta'])
  const again = new PinFile(folder.path)
  again.delete(name('zeta'))
  again.delete(name('nobody'))
  assert.deepEqual([again.has(name('acme')), again.has(name('zeta'))], [true, false])
  assert.deepEqual(readPins(folder.path), ['acme'])
  const text = readFileSync(join(folder.path, 'pins.json'), 'utf8')
  assert.equal(text, '{"version":1,"tenants":["acme"]}\n')
})

test('beyond the limit the next one is refused, and nothing is lost', () => {
  using folder = temporaryFolder()
  const tenants = Array.from({ length: LIMITS.pinnedTenantsMax }, (_, index) => `t${index}`)
  writeFileSync(join(folder.path, 'pins.json'), JSON.stringify({ version: 1, tenants }))
  const pins = new PinFile(folder.path)
  assert.throws(() => pins.add(name('more')), isCode('PINS_EXHAUSTED'))
  pins.add(name('t0'))
  pins.delete(name('t0'))
  pins.add(name('more'))
  assert.equal(readPins(folder.path).length, LIMITS.pinnedTenantsMax)
})

test('a file that is no list of pins is refused by name', () => {
  using folder = temporaryFolder()
  for (const text of ['', '[]', '{"version":2,"tenants":[]}', '{"version":1,"tenants":[1]}']) {
    writeFileSync(join(folder.path, 'pins.json'), text)
    assert.throws(() => new PinFile(folder.path), isCode('CONFIG_INVALID'), text)
  }
})
