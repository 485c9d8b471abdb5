/** What is beyond a limit of an isolate is refused with a code, and nobody is worse off for it. */
import { startupPacket } from '../support/raw-tls.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { Client, neonConfig } from '@neondatabase/serverless'
import { WebSocket as PlainWebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.ts'
import {
  type ArchitecturesUnderTest,
  type QueryBody,
  startArchitecturesForTest,
} from './architectures-worker.ts'
import { frame } from '../support/wire-client.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

let worker: WorkerUnderTest
let architectures: ArchitecturesUnderTest
before(async () => {
  worker = await startPgnap()
  architectures = await startArchitecturesForTest()
  neonConfig.useSecureWebSocket = false
})
after(async () => {
  await worker[Symbol.asyncDispose]()
  await architectures[Symbol.asyncDispose]()
})

const socketTo = (tenant: string): string => `${worker.url.host}/v2?tenant=${tenant}`

async function connect(tenant: string): Promise<Client> {
  neonConfig.wsProxy = () => socketTo(tenant)
  const client = new Client(`postgres://ann:secret@localhost/${tenant}`)
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Of an answer of so many bytes. */
const rowsOf = (bytes: number): string =>
  `select repeat('x', 100000) as x from generate_series(1, ${Math.ceil(bytes / 100_000)})`

test('an answer that is too large is refused, over WebSockets and HTTP', async () => {
  const client = await connect('answers')
  await client.query('create table t as select 42 as n')
  const { isolateAnswerBytesMax } = LIMITS
  const { rows } = await client.query(rowsOf(isolateAnswerBytesMax * 0.9))
  assert.ok(rows.length > 100)
  const ended = new Promise<void>((resolve) => void client.once('end', resolve))
  await assert.rejects(client.query(rowsOf(isolateAnswerBytesMax * 1.1)), { code: '54000' })
  // Its backend was in the middle of something, and is not used again.
  await ended
  const again = await connect('answers')
  assert.equal((await again.query('select n from t')).rows[0].n, 42)
  await again.end()
  const refused = await worker.query('answers', rowsOf(isolateAnswerBytesMax * 1.1))
  assert.equal(refused.status, 507)
  assert.match(await refused.text(), /"code":"ANSWER_TOO_LARGE","sqlState":"54000"/)
  assert.equal(await worker.ask('answers', 'select 1'), 1)
})

test('temporary files have room for so much, and the statement that needs more fails', async () => {
  await worker.ask('spills', 'create table t as select 1 as n')
  const sql = 'select count(*) from (select g from generate_series(1, 2000000) g order by g desc) s'
  const refused = await worker.query('spills', sql)
  assert.equal(refused.status, 400)
  assert.match(await refused.text(), /"sqlState":"53100"/)
  assert.equal(await worker.ask('spills', 'select n from t'), 1)
})

const PASSWORD = Buffer.from('p\0\0\0\x0bsecret\0', 'latin1')
const READY = 'Z\0\0\0\x05I'

/** A client that is let in, or told why not: what it hears until then. */
async function join(tenant: string): Promise<{ socket: PlainWebSocket; heard: string }> {
  const socket = new PlainWebSocket(`ws://${socketTo(tenant)}`)
  await once(socket, 'open')
  let heard = ''
  const told = new Promise<void>((resolve) => {
    socket.on('message', (bytes: Buffer) => {
      heard += bytes.toString('latin1')
      // ReadyForQuery, or an error.
      if (heard.endsWith(READY) || heard.includes('SFATAL\0')) resolve()
    })
  })
  socket.send(startupPacket(tenant, 'ann'))
  socket.send(PASSWORD)
  await told
  return { socket, heard }
}

test('a tenant has room for so many clients, and for the next one when one goes', async () => {
  const { connectionsPerTenantMax } = LIMITS
  const sockets: PlainWebSocket[] = []
  while (sockets.length < connectionsPerTenantMax) {
    const batch = await Promise.all(Array.from({ length: 50 }, () => join('crowded')))
    for (const { socket, heard } of batch) {
      assert.match(heard, /I$/)
      sockets.push(socket)
    }
  }
  const { heard } = await join('crowded')
  assert.match(heard, /SFATAL.*C53300.*too many connections for database "crowded"/s)
  const refused = await worker.query('crowded', 'select 1')
  assert.equal(refused.status, 503)
  assert.match(await refused.text(), /"code":"CONNECTIONS_EXHAUSTED","sqlState":"53300"/)
  assert.equal(await worker.ask('elsewhere', 'select 1'), 1)
  const left = sockets.pop()
  assert.ok(left)
  left.close()
  await once(left, 'close')
  const next = await join('crowded')
  assert.match(next.heard, /I$/)
  for (const socket of [...sockets, next.socket]) socket.close()
})

/** A client that has begun a COPY with so much data. */
async function copying(tenant: string, mebibytes: number) {
  const { socket } = await join(tenant)
  let heard = ''
  socket.on('message', (bytes: Buffer) => void (heard += bytes.toString('latin1')))
  const hears = async (text: string): Promise<void> => {
    while (!heard.includes(text)) await once(socket, 'message')
  }
  socket.send(frame('Q', 'copy t from stdin\0'))
  await hears('G\0\0\0')
  for (let count = 0; count < mebibytes; count++) {
    socket.send(frame('d', Buffer.alloc(2 ** 20, 'x')))
  }
  return { socket, hears, isEnded: () => heard.includes('C53200') }
}

test('data that clients send and do not end is bounded', async () => {
  await worker.ask('copies', 'create table t (x text)')
  const large = await copying('copies', 11)
  await large.hears('C57014')
  await large.hears(READY)
  large.socket.send(frame('Q', 'select 41 + 1\0'))
  await large.hears('42')
  large.socket.close()
  // One tenant leaves some of it to others.
  const crowd = await Promise.all([3, 3, 3, 3].map((size) => copying('copies', size)))
  while (!crowd.some(({ isEnded }) => isEnded())) await worker.ask('copies', 'select 1')
  await worker.ask('copies-other', 'create table t (x text)')
  const other = await copying('copies-other', 1)
  other.socket.send(frame('d', '\n'))
  other.socket.send(frame('c'))
  await other.hears('COPY 1')
  assert.equal(crowd.filter(({ isEnded }) => isEnded()).length, 1)
  assert.equal(await worker.ask('copies', 'select count(*)::int from t'), 0)
  for (const { socket } of [...crowd, other]) socket.close()
})

/** 14 MB, beyond what a compute takes. */
const fill = (name: string): string =>
  `create table ${name} as select g, md5(g::text) || md5((g + 1)::text) as x
    from generate_series(1, 25000) g`

test('a database that a compute has no room for is refused there, and stays', async () => {
  const sizes: string[] = []
  for (let part = 0; part < 12; part++) {
    const answer = await architectures.post('/thin/query', 'large', { sql: fill(`t${part}`) })
    sizes.push(await answer.text())
    if (answer.ok) continue
    assert.equal(answer.status, 507)
    assert.match(sizes.at(-1) ?? '', /"code":"DATABASE_TOO_LARGE","sqlState":"53100"/)
    break
  }
  assert.match(sizes.at(-1) ?? '', /DATABASE_TOO_LARGE/, `${sizes.length} parts fit`)
  assert.equal(await architectures.ask('thin', 'large', 'select count(*)::int from t0'), 25_000)
  assert.equal(await architectures.ask('thin', 'small', 'select 1'), 1)
})

test('hybrid: a database that a compute has no room for waits for its own slot', async () => {
  // It has failed on machines with much else to do: then it says in which phase the object was.
  const statusOf = async (tenant: string): Promise<string> =>
    (await architectures.get('/hybrid/status', tenant)).text()
  const query = async (tenant: string, sql: string): Promise<QueryBody> => {
    try {
      return await architectures.query('hybrid', tenant, sql)
    } catch (cause) {
      throw new Error(`${tenant}: ${String(cause)}, ${await statusOf(tenant)}`, { cause })
    }
  }
  const untilLocal = async (tenant: string): Promise<void> => {
    for (let tries = 0; tries < 200; tries++) {
      const { servedBy } = await query(tenant, 'select 1')
      if (servedBy === 'tenant-object') return
    }
    assert.fail(`${tenant} is still cold: ${await statusOf(tenant)}`)
  }
  await untilLocal('large')
  for (let part = 0; part < 8; part++) await query('large', fill(`t${part}`))
  // Others take the slots that there are.
  for (const tenant of ['one', 'two']) await untilLocal(tenant)
  const sql = 'select count(*)::int as n from t7'
  const { servedBy, rows } = await query('large', sql)
  assert.deepEqual([servedBy, rows], ['tenant-object', [{ n: 25_000 }]])
})
