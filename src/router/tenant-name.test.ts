import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { parseTenantAddress, parseTenantName } from './tenant-name.ts'

function isInvalid(error: unknown): boolean {
  return error instanceof PgnapError && error.code === 'TENANT_NAME_INVALID'
}

test('valid names are taken as they are', () => {
  for (const name of [
    'a',
    '0',
    'acme',
    'acme-2_x',
    'postgres',
    'a'.repeat(LIMITS.tenantNameCharsMax),
  ]) {
    assert.equal(parseTenantName(name), name)
    assert.deepEqual(parseTenantAddress(name), { tenant: name, branch: undefined })
  }
})

test('an address may name a branch', () => {
  assert.deepEqual(parseTenantAddress('acme@preview-7'), { tenant: 'acme', branch: 'preview-7' })
})

test('anything else is refused', () => {
  const tooLong = 'a'.repeat(LIMITS.tenantNameCharsMax + 1)
  const names = ['', '-a', '_a', 'A', 'ä', 'a b', '../a', 'a/b', 'a.b', 'a\0', 'a\n', tooLong]
  for (const name of names) {
    assert.throws(() => parseTenantName(name), isInvalid, name)
    assert.throws(() => parseTenantAddress(`acme@${name}`), isInvalid, name)
  }
  for (const name of ['acme@', '@main', 'a@b@c', 'pgnap', 'pgnap@x', 'template0', 'template1']) {
    assert.throws(() => parseTenantAddress(name), isInvalid, name)
  }
})

test('whatever is accepted is safe as a file name, and what it says is what was typed', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      try {
        const { tenant, branch } = parseTenantAddress(text)
        assert.match(tenant, /^[a-z0-9][a-z0-9_-]{0,62}$/)
        assert.equal(branch === undefined ? tenant : `${tenant}@${branch}`, text)
      } catch (error) {
        assert.ok(isInvalid(error), String(error))
      }
    }),
  )
})
