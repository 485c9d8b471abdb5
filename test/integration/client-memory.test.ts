/**
 * What clients make a server hold (`--client-memory`): whoever has many connections and begins much
 * on each of them loses some, and nobody else notices.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { connectPg, failureOf } from '../support/clients.ts'
import { claimFrame } from '../support/raw-frames.ts'
import { startupPacket } from '../support/raw-tls.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { errorOf, frame, WireClient } from '../support/wire-client.ts'

const MIB = 2 ** 20

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--client-memory', '8MB'] })
})
after(() => server[Symbol.asyncDispose]())

/** A tenant with a table that takes data, and somebody who uses it. */
async function neighbour(name: string) {
  const connection = await connectPg(server, name)
  await connection.client.query('create table t (x text)')
  return connection
}

async function begunCopy(tenant: string, bytes: number): Promise<WireClient> {
  const client = await WireClient.connect(server, tenant)
  await client.say(frame('Q', 'copy t from stdin\0'))
  client.send(frame('d', Buffer.alloc(bytes, 'x')))
  return client
}

/** What a COPY of so many bytes came to. */
async function wholeCopy(tenant: string, bytes: number): Promise<string | undefined> {
  await using client = await begunCopy(tenant, bytes)
  return errorOf(await client.say(frame('d', '\n'), frame('c')))
}

test('data of COPYs that do not end', async () => {
  await using other = await neighbour('copy-other')
  await using greedy = await neighbour('copy-greedy')
  const copies: WireClient[] = []
  for (let count = 0; count < 7; count++) copies.push(await begunCopy('copy-greedy', 2 * MIB))
  assert.equal(await wholeCopy('copy-other', 2 * MIB), undefined)
  assert.equal(await other.value('select count(*)::int from t'), 1)
  let endedCount = 0
  for (const client of copies) {
    const error = errorOf(await client.say(frame('d', '\n'), frame('c')))
    if (error === undefined) continue
    assert.match(error, /53200/)
    endedCount++
  }
  assert.ok(endedCount >= 4, `${endedCount} of 7 have been ended`)
  assert.equal(await greedy.value('select count(*)::int from t'), 7 - endedCount)
  for (const client of copies) await client[Symbol.asyncDispose]()
})

test('a COPY that is too much by itself fails, and its session goes on', async () => {
  await using one = await neighbour('copy-large')
  await using client = await begunCopy('copy-large', 7 * MIB)
  assert.match(errorOf(await client.say(frame('c'))) ?? '', /57014/)
  assert.equal(await client.value('select 1'), '1')
  assert.equal(await one.value('select count(*)::int from t'), 0)
})

test('messages that do not end', async () => {
  await using other = await neighbour('message-other')
  const clients: WireClient[] = []
  for (let count = 0; count < 7; count++) {
    const client = await WireClient.connect(server, 'message-greedy')
    client.send(frame('Q', Buffer.alloc(2 * MIB, ' '), 'select 1\0').subarray(0, 2 * MIB))
    clients.push(client)
  }
  assert.equal(await wholeCopy('message-other', 2 * MIB), undefined)
  const large = `select length('${'x'.repeat(2 * MIB)}')`
  assert.equal(await other.value(large), 2 * MIB)
  for (const client of clients) await client[Symbol.asyncDispose]()
})

test('answers that are not read', async () => {
  await using other = await neighbour('answer-other')
  const sockets = []
  for (let count = 0; count < 12; count++) {
    const socket = connect(server.port, '127.0.0.1')
    const closed = once(socket, 'close')
    socket.on('error', () => {})
    socket.write(startupPacket('answer-greedy'))
    await once(socket, 'data')
    socket.pause()
    socket.write(frame('Q', `select repeat('x', ${5 * MIB})\0`))
    sockets.push({ socket, closed })
  }
  assert.equal(await wholeCopy('answer-other', 2 * MIB), undefined)
  assert.equal(await other.value('select 1'), 1)
  for (const { socket, closed } of sockets) {
    socket.destroy()
    await closed
  }
  const answer = await other.value(`select repeat('x', ${5 * MIB})`)
  assert.equal(String(answer).length, 5 * MIB)
  const failure = await failureOf(other.client.query(`select repeat('x', ${7 * MIB})`))
  assert.equal(failure.code, '54000')
})

test('notifications for who is in a transaction', async () => {
  await using other = await neighbour('notified-other')
  const listeners = []
  for (let count = 0; count < 6; count++) {
    const listener = await connectPg(server, 'notified-greedy')
    await listener.client.query('listen a')
    await listener.client.query('begin')
    listeners.push(listener)
  }
  await using notifier = await connectPg(server, 'notified-greedy')
  const sql = `select count(pg_notify('a', repeat('x', 7000) || g)) from generate_series(1, 100) g`
  for (let round = 0; round < 4; round++) await notifier.client.query(sql)
  const outcomes = await Promise.all(
    listeners.map(({ client }) =>
      client.query('select 1').then(
        () => 'goes on',
        () => 'ended',
      ),
    ),
  )
  assert.ok(outcomes.includes('ended'), 'two megabytes for each of them are too much')
  assert.ok(outcomes.includes('goes on'))
  assert.equal(await wholeCopy('notified-other', 2 * MIB), undefined)
  assert.equal(await other.value('select count(*)::int from t'), 1)
  for (const listener of listeners) await listener[Symbol.asyncDispose]()
})

test('frames of WebSockets that do not end', async () => {
  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.httpPort}/v2`)
    await once(socket, 'open')
    socket.send(startupPacket('web-socket'))
    socket.send(frame('p', 'any\0'))
    await once(socket, 'message')
    return socket
  }
  const closings: Promise<number>[] = []
  for (let count = 0; count < 7; count++) {
    const socket = await open()
    closings.push(once(socket, 'close').then(([code]) => code as number))
    const raw = claimFrame(socket, 4 * MIB)
    raw.write(Buffer.alloc(2 * MIB))
  }
  // With the others that are left, the last of them was too much.
  const code = await Promise.race(closings)
  assert.ok(code === 1009 || code === 1006, `closed with ${code}`)
  await using other = await neighbour('web-socket-other')
  assert.equal(await other.value('select 1'), 1)
})

test('bodies of HTTP requests that do not end', async () => {
  const answers: Promise<number>[] = []
  for (let count = 0; count < 7; count++) {
    const path = '/v1/tenants/body/query'
    const headers = { 'Content-Length': 4 * MIB }
    const asked = request({
      port: server.httpPort,
      host: '127.0.0.1',
      method: 'POST',
      path,
      headers,
    })
    answers.push(
      once(asked, 'response').then(([answer]) => (answer as { statusCode: number }).statusCode),
    )
    asked.on('error', () => {})
    asked.write('{"sql": "select 1"'.padEnd(2 * MIB))
  }
  assert.equal(await Promise.race(answers), 503)
  const body = JSON.stringify({ sql: `select length($1)`, params: ['x'.repeat(MIB)] })
  const url = `http://127.0.0.1:${server.httpPort}/v1/tenants/body-other/query`
  const answer = await fetch(url, { method: 'POST', body })
  assert.equal(answer.status, 200)
})

test('the log names the tenants', () => {
  for (const tenant of ['copy-greedy', 'message-greedy', 'answer-greedy']) {
    assert.match(server.log(), new RegExp(`"${tenant}".*a client made us hold too much`))
  }
  assert.doesNotMatch(server.log(), /-other".*a client made us hold too much/)
})
