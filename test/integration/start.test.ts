/** The time before a server says that it is ready: who knocks early waits, and is served. */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Resolves at the first moment at which somebody listens. */
async function listening(port: number): Promise<void> {
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (open) return
  }
}

test('clients that come before the server is ready are served, whichever their shard', async () => {
  const port = await freePort()
  const starting = startServer({ flags: ['--shards', '3', '--port', String(port)] })
  await listening(port)
  const names = Array.from({ length: 8 }, (_, index) => `early-${index}`)
  const answers = await Promise.all(
    names.map(async (database) => {
      const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database })
      await client.connect()
      const { rows } = await client.query('select current_database() as name, 6 * 7 as n')
      await client.end()
      return rows[0] as { name: string; n: number }
    }),
  )
  assert.deepEqual(
    answers.map(({ n }) => n),
    names.map(() => 42),
  )
  await using server = await starting
  assert.equal(server.port, port)
})

test('a first client that never comes to an end keeps nobody from being served', async () => {
  const port = await freePort()
  const starting = startServer({ flags: ['--shards', '2', '--port', String(port)] })
  await listening(port)
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'long' })
  // Its server is killed below; the query hears of it as well.
  client.on('error', () => {})
  await client.connect()
  const sleeping = client.query('select pg_sleep(3600)')
  const ended = assert.rejects(sleeping)
  await using server = await starting
  assert.equal((await server.request('/healthz')).status, 200)
  await server.stop('SIGKILL')
  await ended
})

test('a data folder that cannot keep the template serves nobody', async () => {
  using folder = temporaryFolder()
  const data = join(folder.path, 'data')
  mkdirSync(data)
  writeFileSync(join(data, 'templates'), 'in the way')
  const port = await freePort()
  const starting = startServer({ data, flags: ['--port', String(port)] })
  const refused = assert.rejects(starting, /templates/)
  await listening(port)
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'early' })
  client.on('error', () => {})
  await assert.rejects(client.connect())
  await refused
  assert.deepEqual(readdirSync(join(data, 'tenants')), [])
})
