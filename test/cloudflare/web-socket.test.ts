/** The Postgres protocol inside of WebSockets, as the shipped Worker speaks it. */
import { startupPacket } from '../support/raw-tls.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, neonConfig, Pool } from '@neondatabase/serverless'
import { WebSocket as PlainWebSocket } from 'ws'
import { bundleWorker } from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'

/** workerd puts an object away after ten seconds without an event. */
const HIBERNATES_MS = 12_500

let worker: WorkerUnderTest
let sleeper: Sleeper
let forgotten: Sleeper

interface Sleeper {
  readonly client: Client
  readonly lives: number
  readonly sinceMs: number
}

before(async () => {
  const entry = 'test/cloudflare/worker/tampering-worker.ts'
  const users = '"ann" "secret"'
  const files = await bundleWorker({ entry, engine: await engineFiles() })
  worker = await startPgnap({ PGNAP_USERS: users }, {}, files)
  neonConfig.useSecureWebSocket = false
  sleeper = await startSleeper('sleeper')
  forgotten = await startSleeper('forgotten')
})
after(() => worker[Symbol.asyncDispose]())
afterEach(() => void (neonConfig.wsProxy = anywhere))

/** One address for all databases. */
const anywhere = (): string => `${worker.url.host}/v2`
const urlOf = (tenant: string, password = 'secret'): string =>
  `postgres://ann:${password}@localhost/${tenant}`

/** One that has the tenant in its address leads to its object, which gets the socket itself. */
async function connect(tenant: string, isNamed = false): Promise<Client> {
  neonConfig.wsProxy = isNamed ? () => `${anywhere()}?tenant=${tenant}` : anywhere
  const client = new Client(urlOf(tenant))
  client.on('error', () => {})
  await client.connect()
  return client
}

async function livesOf(tenant: string): Promise<number> {
  const answer = await worker.fetch(`/lives/${tenant}`)
  return Number(await answer.text())
}

test('encodings of one byte are converted there too, those of East Asia refused', async () => {
  const client = await connect('encodings')
  await client.query(`set client_encoding = 'WIN1252'`)
  const { rows } = await client.query(`select convert_to(U&'\\20AC', 'WIN1252') as win,
    convert_to(U&'\\0416', 'KOI8R') as koi, current_setting('client_encoding') as own`)
  assert.deepEqual(rows, [
    { win: Buffer.from('80', 'hex'), koi: Buffer.from('f6', 'hex'), own: 'WIN1252' },
  ])
  await assert.rejects(client.query(`set client_encoding = 'SJIS'`), {
    code: '0A000',
    message: /conversion between character encodings is not supported/,
  })
  // The driver takes what it is sent for UTF-8.
  const { rows: told } = await client.query(`select U&'\\20AC' as euro`)
  assert.deepEqual(told, [{ euro: '\ufffd' }])
  await client.end()
})

/** Connects and asks. The driver says all of it before it hears whether it is let in. */
async function tryOut(tenant: string, password?: string): Promise<void> {
  const client = new Client(urlOf(tenant, password))
  client.on('error', () => {})
  await client.connect()
  await client.query('select 1')
}

/** A session that has set itself up, and then says nothing for long. */
async function startSleeper(tenant: string): Promise<Sleeper> {
  const client = await connect(tenant, true)
  await client.query('create table t(n int)')
  await client.query("set application_name = 'sleeper'")
  await client.query('prepare answer as select 42 as n')
  await client.query('insert into t values (1)')
  return { client, lives: await livesOf(tenant), sinceMs: performance.now() }
}

test("Neon's pool and client work, on one address for all databases", async () => {
  neonConfig.wsProxy = anywhere
  const pool = new Pool({ connectionString: urlOf('driver') })
  const { rows } = await pool.query('select $1::int + 1 as n, $2::text as t', [41, 'ü'])
  assert.deepEqual(rows, [{ n: 42, t: 'ü' }])
  await pool.query('create table t(n int)')
  const client = await pool.connect()
  await client.query('begin')
  await client.query('insert into t values (1)')
  await client.query('rollback')
  client.release()
  assert.equal((await pool.query('select count(*)::int as n from t')).rows[0].n, 0)
  await pool.end()
})

test('an address that names the tenant leads to its object, and nowhere else', async () => {
  const client = await connect('named', true)
  assert.equal((await client.query('select 1 as n')).rows[0].n, 1)
  await client.end()
  neonConfig.wsProxy = () => `${anywhere()}?tenant=named`
  await assert.rejects(tryOut('other'), /two different databases/)
})

test('who asks for a WebSocket to what is no tenant is told with a SQLSTATE', async () => {
  const asked = request(new URL('/v2?tenant=Not-A-Name', worker.url), {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    },
  })
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  const text = Buffer.concat(await answer.toArray()).toString()
  assert.equal(answer.statusCode, 400)
  assert.match(text, /TENANT_NAME_INVALID.*"sqlState":"3D000".*"hint":"/s)
})

test('who sends megabytes before it is let in is cut off', async () => {
  const socket = new WebSocket(`ws://${anywhere()}`)
  await once(socket, 'open')
  socket.send(
    Buffer.concat([startupPacket('flood', 'ann'), Buffer.alloc(LIMITS.isolateAheadBytesMax)]),
  )
  const [{ code }] = (await once(socket, 'close')) as [CloseEvent]
  assert.equal(code, 1009)
})

test('who closes its WebSocket is answered at once, whenever that is', async () => {
  const closed = async (when: 'silent' | 'opening' | 'joined', query = ''): Promise<number> => {
    // Node's own takes one Close frame in twenty for the end of the connection (1006).
    const socket = new PlainWebSocket(`ws://${anywhere()}${query}`)
    await once(socket, 'open')
    if (when !== 'silent') socket.send(startupPacket('closes', 'ann'))
    if (when === 'joined') await once(socket, 'message')
    socket.close(4000, 'enough')
    const signal = AbortSignal.timeout(5_000)
    const [code] = (await once(socket, 'close', { signal })) as [number]
    return code
  }
  for (const when of ['silent', 'opening', 'joined', 'opening'] as const) {
    assert.equal(await closed(when), 4000, when)
  }
  assert.equal(await closed('joined', '?tenant=closes'), 1005)
})

test('a wrong password is refused, whichever way it comes', async () => {
  for (const proxy of [anywhere, () => `${anywhere()}?tenant=driver`]) {
    neonConfig.wsProxy = proxy
    await assert.rejects(tryOut('driver', 'wrong'), /password authentication failed/)
  }
})

test('sessions of two clients are apart, and an error ends nothing', async () => {
  const [one, other] = [await connect('apart', true), await connect('apart')]
  await one.query("set application_name = 'one'")
  await other.query("set application_name = 'other'")
  assert.equal((await one.query('show application_name')).rows[0].application_name, 'one')
  await assert.rejects(other.query('select 1/0'), { code: '22012' })
  assert.equal((await other.query('show application_name')).rows[0].application_name, 'other')
  await one.end()
  await other.end()
})

test('clients of a tenant that is removed are told', async () => {
  const client = await connect('removed', true)
  const told = new Promise<Error>((resolve) => void client.once('error', resolve))
  await client.query('select 1')
  const answer = await worker.fetch('/v1/tenants/removed', {
    method: 'DELETE',
    headers: { authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` },
  })
  assert.equal(answer.status, 204)
  assert.match((await told).message, /deleted|terminated/)
})

test('who is cut off in a transaction keeps nobody waiting', async () => {
  const client = await connect('cut', true)
  await client.query('create table t as select 1 as n')
  await client.query('begin')
  await client.query('update t set n = 2')
  const ended = new Promise<void>((resolve) => void client.once('end', resolve))
  await worker.fetch('/end/cut')
  await ended
  const other = await connect('cut', true)
  assert.equal((await other.query('update t set n = n + 2 returning n')).rows[0].n, 3)
  await other.end()
})

test('a session sleeps with its object, and wakes as it was', async () => {
  const { client, lives, sinceMs } = sleeper
  await sleep(Math.max(0, HIBERNATES_MS - (performance.now() - sinceMs)))
  assert.equal((await client.query('execute answer')).rows[0].n, 42)
  assert.equal((await client.query('show application_name')).rows[0].application_name, 'sleeper')
  assert.ok((await livesOf('sleeper')) > lives, 'the object was made anew')
  const other = await connect('sleeper')
  assert.equal((await other.query('select count(*)::int as n from t')).rows[0].n, 1)
  await other.end()
  await client.end()
})

test('a session whose memory has gone ends with an error, and nothing is lost', async () => {
  const { client, sinceMs } = forgotten
  await sleep(Math.max(0, HIBERNATES_MS - (performance.now() - sinceMs)))
  // As if the isolate had ended, and another one had had the tenant meanwhile.
  await worker.fetch('/take-over/forgotten')
  await assert.rejects(client.query('execute answer'), /could not be kept/)
  const again = await connect('forgotten')
  assert.equal((await again.query('select count(*)::int as n from t')).rows[0].n, 1)
  await again.end()
})
