/**
 * Where a pgnap server finds its tenants, from outside: warming a server without touching the
 * tenants that are to be measured, and making sure that what was measured is what the row says.
 */
import { assert } from '../../src/base/assert.ts'
import type { Tier } from '../../src/front/control.ts'
import type { PgnapServer } from '../peers/pgnap.ts'
import { addressOf } from '../peers/server.ts'
import { firstRow, queryOnce } from '../wire/connection.ts'
import { accountSql } from './work.ts'

/** A small table, as most tenants have. */
export const SMALL_ROW_COUNT = 1_000

/** What is asked of it. */
export const SMALL_SQL: string = accountSql(42)

/**
 * Makes tenants that a server has behind it before it is measured, and lets them nap: its slots are
 * made, its code is compiled. A server is young for a second of its life.
 */
export async function warmUp(server: PgnapServer, tenantCount: number): Promise<void> {
  for (let index = 0; index < tenantCount; index++) {
    const tenant = `warm-${index}`
    const address = addressOf(server, tenant)
    await queryOnce(address, 'create table if not exists notes (id int primary key)')
    await firstRow(address, 'select id from notes where id = 42')
    await server.nap(tenant)
  }
}

/**
 * Runs `action`, during which exactly `count` requests must find their tenant in `tier`. Throws if
 * not: then the numbers are about something else.
 */
export async function expectTier<Result>(
  server: PgnapServer,
  expected: { readonly tier: Tier; readonly count: number },
  action: () => Promise<Result>,
): Promise<Result> {
  const before = (await server.pool()).found[expected.tier]
  const result = await action()
  const count = (await server.pool()).found[expected.tier] - before
  const words = `${count} of ${expected.count} requests found their tenant ${expected.tier}`
  assert(count === expected.count, words)
  return result
}
