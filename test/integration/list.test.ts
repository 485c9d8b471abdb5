/** The list of tenants of the shipped program, while tenants come and go in its threads. */
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { type ServerProcess, startServer } from '../support/server.ts'

/** So many that the names are believed for seconds once they have been read. */
const BY_HAND = 20_000

async function page(server: ServerProcess, after: string): Promise<readonly string[]> {
  const answer = await server.request(`/v1/tenants?limit=10&after=${after}`)
  const { tenants } = (await answer.json()) as { readonly tenants: readonly { name: string }[] }
  return tenants.map(({ name }) => name)
}

test('a tenant is listed as soon as it is there, and no longer than that', async () => {
  await using server = await startServer({ flags: ['--shards', '2'] })
  const fileOf = (name: string): string => join(server.data, 'tenants', `${name}.db`)
  for (let index = 0; index < BY_HAND; index++) writeFileSync(fileOf(`by-hand-${index}`), '')
  assert.equal((await page(server, '')).length, 10)
  for (let index = 0; index < 10; index++) {
    const name = `made-${index}`
    const client = new pg.Client(server.url(name))
    try {
      await client.connect()
      assert.deepEqual(await page(server, name), [], 'a client that says nothing makes nothing')
      await client.query('select 1')
      assert.deepEqual((await page(server, 'made')).at(-1), name)
    } finally {
      await client.end()
    }
  }
  const { status } = await server.request('/v1/tenants', {
    method: 'POST',
    body: JSON.stringify({ name: 'said' }),
  })
  assert.equal(status, 201)
  assert.deepEqual(await page(server, 'made-9'), ['said'])
  await server.request('/v1/tenants/made-3', { method: 'DELETE' })
  assert.deepEqual((await page(server, 'made-2'))[0], 'made-4')
  rmSync(fileOf('said'))
  assert.deepEqual(await page(server, 'made-9'), [])
})
