import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TenantName } from '../base/ids.ts'
import { SeededRandom } from '../base/random.ts'
import { Credentials } from './credentials.ts'
import { makeVerifier } from './scram-verifier.ts'
import { Users } from './users.ts'

const random = new SeededRandom(1)
const ofRole = await makeVerifier('role', random)
const administrators = await Credentials.parse('"ann" "a"\n"both" "b"', (password) =>
  makeVerifier(password, random),
)

function usersOf(
  tenants: readonly string[],
  tellsUnknown = false,
): { users: Users; asked: string[] } {
  const asked: string[] = []
  const roles = {
    verifierOf: (tenant: TenantName, role: string) => {
      asked.push(`role ${tenant}`)
      return tenant === 'acme' && ['app', 'both'].includes(role) ? ofRole : undefined
    },
  }
  const exists = (tenant: TenantName): boolean => {
    asked.push(`exists ${tenant}`)
    return tenants.includes(tenant)
  }
  return { users: new Users({ administrators, roles, exists, tellsUnknown }), asked }
}

test('administrators may use everything, a role its tenant and nothing else', () => {
  const { users } = usersOf(['acme', 'beta'])
  const ann = administrators.verifierOf('ann')
  for (const database of ['acme', 'acme@b', 'beta', 'pgnap', 'No Name', '']) {
    assert.equal(users.verifierOf('ann', database), ann)
  }
  assert.equal(users.verifierOf('app', 'acme'), ofRole)
  assert.equal(users.verifierOf('app', 'acme@branch'), ofRole)
  for (const database of ['beta', 'pgnap', 'template1', 'ACME', 'acme/../beta', '']) {
    assert.equal(users.verifierOf('app', database), undefined, database)
  }
})

test('a name that both have is the administrator’s', () => {
  const { users } = usersOf(['acme'])
  assert.equal(users.verifierOf('both', 'acme'), administrators.verifierOf('both'))
})

test('a role of a tenant that is not there is nobody', () => {
  assert.equal(usersOf(['beta']).users.verifierOf('app', 'acme'), undefined)
})

test('who is allowed to is told that there is no such tenant, as anybody is then', () => {
  const { users } = usersOf(['acme'], true)
  for (const user of ['ann', 'app', 'nobody']) {
    assert.throws(() => users.verifierOf(user, 'beta'), /database "beta" does not exist/)
  }
  assert.equal(users.verifierOf('nobody', 'acme'), undefined)
  assert.equal(users.verifierOf('nobody', 'pgnap'), undefined)
})

test('the same is looked up for every name, whatever is found', () => {
  const { users, asked } = usersOf(['acme'])
  for (const user of ['ann', 'app', 'nobody']) {
    for (const database of ['acme', 'beta', 'pgnap', 'No Name']) {
      asked.length = 0
      users.verifierOf(user, database)
      assert.equal(asked.length, 2)
    }
  }
})
