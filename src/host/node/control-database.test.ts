import assert from 'node:assert/strict'
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { equalBytes } from '../../base/bytes.ts'
import { fitsVerifier } from '../../front/wire/scram.ts'
import { Credentials } from '../../router/credentials.ts'
import { makeVerifier } from '../../router/scram-verifier.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { ControlDatabase } from './control-database.ts'
import { systemRandom } from './random.ts'
import { TenantRoles } from './tenant-roles.ts'

const ACME = 'acme' as TenantName
const BETA = 'beta' as TenantName
const CONFIG = { host: '127.0.0.1', port: 6432, domain: undefined, tlsCert: undefined }

function rolesWith(database: ControlDatabase, changes: Partial<typeof CONFIG> | object = {}) {
  const administrators = Credentials.parse('"ann" "x"', (word) => makeVerifier(word, systemRandom))
  const config = { ...CONFIG, ...changes }
  const clock = new ManualClock()
  return new TenantRoles({ database, administrators, config, clock, random: systemRandom })
}

test('a role is kept until it is deleted, and seen by other connections at once', async () => {
  using folder = temporaryFolder()
  const verifier = await makeVerifier('x', systemRandom)
  {
    using database = ControlDatabase.create(folder.path, systemRandom)
    using reader = ControlDatabase.openExisting(folder.path)
    assert.ok(reader)
    assert.ok(equalBytes(reader.saltSecret, database.saltSecret))
    database.put(ACME, { role: 'app', createdMs: 7 }, verifier)
    assert.deepEqual(reader.verifierOf(ACME, 'app'), verifier)
    assert.equal(reader.verifierOf(BETA, 'app'), undefined)
    assert.deepEqual(reader.rolesOf(ACME), [{ role: 'app', createdMs: 7 }])
  }
  using again = ControlDatabase.create(folder.path, systemRandom)
  assert.deepEqual(again.verifierOf(ACME, 'app'), verifier)
  assert.equal(again.delete(ACME, 'app'), true)
  assert.equal(again.delete(ACME, 'app'), false)
  assert.equal(again.verifierOf(ACME, 'app'), undefined)
})

test('a tenant that is forgotten takes its roles along, and nobody else’s', async () => {
  using folder = temporaryFolder()
  using database = ControlDatabase.create(folder.path, systemRandom)
  const verifier = await makeVerifier('x', systemRandom)
  for (const tenant of [ACME, BETA]) database.put(tenant, { role: 'app', createdMs: 1 }, verifier)
  database.forget(ACME)
  assert.deepEqual(database.rolesOf(ACME), [])
  assert.equal(database.rolesOf(BETA).length, 1)
})

test('where nobody has made it there are no roles; its files are their owner’s', () => {
  using folder = temporaryFolder()
  assert.equal(ControlDatabase.openExisting(folder.path), undefined)
  writeFileSync(join(folder.path, 'control.db'), '')
  assert.equal(ControlDatabase.openExisting(folder.path), undefined)
  using database = ControlDatabase.create(folder.path, systemRandom)
  assert.equal(database.saltSecret.length, 32)
  for (const name of readdirSync(folder.path)) {
    assert.equal(statSync(join(folder.path, name)).mode & 0o777, 0o600, name)
  }
})

test('a file of another format, or none of ours, is refused and left alone', () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'control.db')
  using newer = new DatabaseSync(path)
  newer.exec('pragma user_version = 9')
  newer.close()
  const isRefused =
    (code: string) =>
    (error: unknown): boolean =>
      error instanceof PgnapError && error.code === code
  const open = (): unknown => ControlDatabase.create(folder.path, systemRandom)
  assert.throws(open, isRefused('STORE_FORMAT_UNKNOWN'))
  writeFileSync(path, 'this is no database, whoever wrote it, and long enough to be read')
  assert.throws(open, isRefused('CONFIG_INVALID'))
  assert.throws(open, /control\.db cannot be used: file is not a database/)
})

test('what is wrong with it later is told without saying where it lies', () => {
  using folder = temporaryFolder()
  using database = ControlDatabase.create(folder.path, systemRandom)
  using other = new DatabaseSync(join(folder.path, 'control.db'))
  other.exec('drop table roles')
  assert.throws(
    () => database.verifierOf('acme' as TenantName, 'ann'),
    (error) =>
      error instanceof PgnapError &&
      error.code === 'STORE_IO' &&
      !JSON.stringify([error.message, error.hint, error.detail]).includes(folder.path),
  )
})

test('a password is told once, fits its verifier, and is in no file', async () => {
  using folder = temporaryFolder()
  using database = ControlDatabase.create(folder.path, systemRandom)
  const roles = rolesWith(database)
  const granted = await roles.grant(ACME, 'app')
  const { username, password, host, pathname } = new URL(granted.connectionString)
  assert.deepEqual([username, host, pathname], ['app', '127.0.0.1:6432', '/acme'])
  assert.ok(password.length >= 32)
  const verifier = database.verifierOf(ACME, 'app')
  assert.ok(verifier && (await fitsVerifier(password, verifier, systemRandom)))
  for (const name of readdirSync(folder.path)) {
    assert.ok(!readFileSync(join(folder.path, name)).includes(password), name)
  }
  const next = await roles.grant(ACME, 'app')
  assert.notEqual(new URL(next.connectionString).password, password)
  const renewed = database.verifierOf(ACME, 'app')
  assert.ok(renewed && !(await fitsVerifier(password, renewed, systemRandom)))
  assert.deepEqual(renewed.salt, verifier.salt, 'a salt tells nothing of a rotation')
})

test('names that no role may have, and where a connection string leads', async () => {
  using folder = temporaryFolder()
  using database = ControlDatabase.create(folder.path, systemRandom)
  const roles = rolesWith(database, { domain: 'db.example.com', tlsCert: 'cert.pem' })
  for (const role of ['', 'a.b', 'A', '-a', 'a b', "a'b", 'a'.repeat(64), 'ann']) {
    await assert.rejects(roles.grant(ACME, role), /role|administrator/, role)
  }
  assert.equal(await roles.firstRoleOf(ACME), 'acme')
  assert.equal(await roles.firstRoleOf('ann' as TenantName), 'ann_owner')
  roles.listensOn(7000)
  const { connectionString } = await roles.grant(ACME, 'acme')
  assert.match(connectionString, /@acme\.db\.example\.com:7000\/acme\?sslmode=require$/)
  const anywhere = rolesWith(database, { host: '::' })
  assert.doesNotMatch((await anywhere.grant(ACME, 'acme')).connectionString, /@\[?::/)
  assert.throws(() => roles.revoke(ACME, 'nobody'), /no role "nobody"/)
})
