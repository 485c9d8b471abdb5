import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Fingerprint, TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { SeededRandom } from '../base/random.ts'
import type { Engine, Slot } from '../engine/engine.ts'
import type { OtherDatabases } from '../pool/database-service.ts'
import { LiveClient } from '../pool/pool-client.ts'
import { Pool } from '../pool/pool.ts'
import { Credentials } from './credentials.ts'
import type { ConnectRequest } from './gateway.ts'
import { makeVerifier } from './scram-verifier.ts'
import { TenantGateway } from './tenant-gateway.ts'
import type { TenantGatewayOptions } from './tenant-gateway.ts'
import { Users } from './users.ts'

/** Connecting never wakes anybody, so an engine that never has a slot will do. */
const engine: Engine = {
  fingerprint: 'none' as Fingerprint,
  postgresMajor: 18,
  createSlot: () => new Promise<Slot>(() => {}),
}

class Names {
  readonly names = new Set<string>(['acme'])

  async exists(tenant: TenantName): Promise<boolean> {
    return this.names.has(tenant)
  }

  beside(tenant: TenantName): OtherDatabases {
    return { names: () => [...this.names].filter((name) => name !== tenant), bytesOf: () => 1 }
  }
}

function setUp(options: Partial<TenantGatewayOptions> = {}): {
  readonly gateway: TenantGateway
  readonly directory: Names
  readonly pool: Pool
} {
  const source = {
    open: (): never => assert.fail('nobody wakes'),
  }
  const pool = new Pool({ engine, source, clock: new ManualClock(), log: silentLog })
  const directory = new Names()
  const gateway = new TenantGateway({ pool, directory, createOnConnect: true, ...options })
  return { gateway, directory, pool }
}

function request(tenant: string, lost: (error: PgnapError) => void = () => {}): ConnectRequest {
  const events = { messages: () => {}, lost }
  return { tenant, user: 'ann', applicationName: '', processId: 1, events }
}

function failsWith(code: ErrorCode, sqlState: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof PgnapError && error.code === code && error.sqlState === sqlState
}

test('a tenant that exists is connected to, and one that its first batch will make', async () => {
  const { gateway, pool } = setUp()
  for (const tenant of ['acme', 'new', 'new', 'new']) await gateway.connect(request(tenant))
  assert.equal(pool.clientCountOf('new' as TenantName), 3)
  assert.equal(pool.clientCount, 4)
})

test('without create-on-connect an unknown tenant is refused with the way to make it', async () => {
  const { gateway } = setUp({ createOnConnect: false })
  await assert.rejects(gateway.connect(request('new')), (error) => {
    assert.ok(failsWith('TENANT_UNKNOWN', '3D000')(error))
    assert.match(String((error as PgnapError).hint), /pgnap tenant create new/)
    return true
  })
})

test('bad names and branches are refused before anything is made', async () => {
  const { gateway } = setUp()
  await assert.rejects(gateway.connect(request('No')), failsWith('TENANT_NAME_INVALID', '3D000'))
  await assert.rejects(gateway.connect(request('a@b')), failsWith('NOT_SUPPORTED', '0A000'))
})

test('connections are limited per tenant and per shard, and closing makes room', async () => {
  const { gateway } = setUp({ connectionsPerTenantMax: 2, connectionsMax: 3 })
  const first = await gateway.connect(request('acme'))
  await gateway.connect(request('acme'))
  const exhausted = failsWith('CONNECTIONS_EXHAUSTED', '53300')
  await assert.rejects(gateway.connect(request('acme')), exhausted)
  await gateway.connect(request('other'))
  await assert.rejects(gateway.connect(request('third')), exhausted)
  first.close()
  await gateway.connect(request('acme'))
})

test('newcomers who arrive together do not slip past the limit', async () => {
  const { gateway } = setUp({ connectionsPerTenantMax: 2 })
  const results = await Promise.allSettled([1, 2, 3, 4].map(() => gateway.connect(request('acme'))))
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 2)
})

test('a draining pool takes nobody in, an expelled client is told', async () => {
  const { gateway, pool } = setUp()
  const told: string[] = []
  await gateway.connect(request('acme', (error) => told.push(error.code)))
  await pool.expel('acme' as TenantName, new PgnapError('TENANT_UNKNOWN', 'deleted'))
  assert.deepEqual(told, ['TENANT_UNKNOWN'])
  void pool.drain()
  await assert.rejects(gateway.connect(request('acme')), failsWith('SHUTTING_DOWN', '57P01'))
})

test('passwords come from the users; without them everybody is trusted', async () => {
  assert.equal(setUp().gateway.authentication, 'trust')
  const verifier = await makeVerifier('x', new SeededRandom(1))
  const credentials = await Credentials.parse('"ann" "x"', async () => verifier)
  const roles = { verifierOf: () => undefined }
  const users = new Users({
    administrators: credentials,
    roles,
    exists: () => true,
    tellsUnknown: false,
  })
  const { gateway } = setUp({ users })
  assert.equal(gateway.authentication, 'scram')
  assert.equal(await gateway.passwordFor('ann', 'acme'), verifier)
  assert.equal(await gateway.passwordFor('eve', 'acme'), undefined)
})

test('whoever may make databases sees the others, and nobody else does', async () => {
  const seen = async (options: Partial<TenantGatewayOptions>): Promise<unknown> => {
    const { gateway, directory } = setUp(options)
    directory.names.add('beta')
    const client = await gateway.connect(request('beta'))
    assert.ok(client instanceof LiveClient)
    return client.otherDatabases?.names()
  }
  const users = { verifierOf: () => undefined }
  assert.deepEqual(await seen({}), ['acme'])
  assert.deepEqual(await seen({ users: { ...users, isAdministrator: () => true } }), ['acme'])
  assert.equal(await seen({ users: { ...users, isAdministrator: () => false } }), undefined)
  assert.equal(await seen({ createOnConnect: false }), undefined)
})
