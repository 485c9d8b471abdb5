import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../base/errors.ts'
import { type Selectors, selectTenant, splitUser } from './tenant-selection.ts'

const DOMAIN = 'db.example.com'

/** `user of database`, or the code of the error. */
function selected(selectors: Partial<Selectors>, domain: string | undefined = DOMAIN): string {
  try {
    const { user, database } = selectTenant({ user: 'ann', database: '', ...selectors }, domain)
    return `${user} of ${database}`
  } catch (error) {
    assert.ok(error instanceof PgnapError)
    return `${error.code}: ${error.detail}`
  }
}

test('each way alone', () => {
  assert.equal(selected({ database: 'acme' }), 'ann of acme')
  assert.equal(selected({ database: 'acme@b1' }), 'ann of acme@b1')
  assert.equal(selected({ user: 'ann.acme' }), 'ann of acme')
  assert.equal(selected({ user: 'ann.lee.acme' }), 'ann.lee of acme')
  assert.equal(selected({ serverName: 'acme.db.example.com' }), 'ann of acme')
  assert.equal(selected({ serverName: 'ACME.DB.Example.com.' }), 'ann of acme')
  assert.equal(selected({ endpoint: 'acme' }), 'ann of acme')
  assert.equal(selected({}), 'ann of ann')
})

test('names of the server that say nothing', () => {
  for (const serverName of [
    'db.example.com',
    'a.b.db.example.com',
    '.db.example.com',
    'acmedb.example.com',
    'acme.example.org',
    '127.0.0.1',
    '',
  ]) {
    assert.equal(selected({ serverName, database: 'beta' }), 'ann of beta', serverName)
  }
  assert.equal(selectTenant({ user: 'ann', database: '', serverName: 'acme.x' }).database, 'ann')
})

test('the same said twice is no conflict, and a branch is kept', () => {
  const all = { user: 'ann.acme', endpoint: 'acme', serverName: 'acme.db.example.com' }
  assert.equal(selected({ ...all, database: 'acme' }), 'ann of acme')
  assert.equal(selected({ ...all, database: 'acme@b1' }), 'ann of acme@b1')
})

test('defaults of clients are nobody’s word while something else is said', () => {
  // libpq sends the user as the database where none is given, with everything in it.
  assert.equal(selected({ user: 'ann.acme', database: 'ann.acme' }), 'ann of acme')
  assert.equal(selected({ database: 'ann', endpoint: 'acme' }), 'ann of acme')
  assert.equal(selected({ database: 'postgres', user: 'ann.acme' }), 'ann of acme')
  assert.equal(selected({ database: 'postgres' }), 'ann of postgres')
  assert.equal(selected({ database: 'ann' }), 'ann of ann')
})

test('two that disagree are an error that names both and where they came from', () => {
  const said = selected({ user: 'ann.beta', database: 'acme' })
  assert.equal(said, 'TENANT_CONFLICT: "acme" is the database name, "beta" the user "ann.beta"')
  const ways: Partial<Selectors>[] = [
    { database: 'a' },
    { user: 'ann.b' },
    { endpoint: 'c' },
    { serverName: 'd.db.example.com' },
  ]
  for (const one of ways) {
    for (const other of ways) {
      if (one !== other) assert.match(selected({ ...one, ...other }), /^TENANT_CONFLICT/)
    }
  }
  assert.match(selected({ database: 'pgnap', endpoint: 'acme' }), /^TENANT_CONFLICT/)
  // What goes on a screen has no control characters.
  assert.match(selected({ database: 'a\u001b[2J', endpoint: 'b' }), /"a\\u001b\[2J"/)
})

test('a user without a tenant behind its last dot is whole', () => {
  for (const user of ['ann', 'ann.', '.acme', 'ann.Acme', 'ann.a b', 'ann@example.com ']) {
    assert.deepEqual(splitUser(user), { role: user })
  }
})

test('whatever is said, the answer was said by somebody, and is the same each time', () => {
  const word = fc.constantFrom('', 'a', 'b', 'a.b', 'a@b', 'postgres', 'x.y.z', '\0')
  fc.assert(
    fc.property(word, word, fc.option(word), fc.option(word), (user, database, name, label) => {
      const endpoint = name ?? undefined
      const serverName = label === null ? undefined : `${label}.${DOMAIN}`
      const given = { user, database, endpoint, serverName }
      const first = selected(given)
      assert.equal(selected(given), first)
      if (first.startsWith('TENANT_CONFLICT')) return
      const chosen = first.slice(first.indexOf(' of ') + 4)
      const words = [user, database, endpoint, label, splitUser(user).tenant, splitUser(user).role]
      assert.ok(words.includes(chosen), first)
    }),
  )
})
