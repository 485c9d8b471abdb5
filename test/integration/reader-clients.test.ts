/**
 * What a client is promised elsewhere holds while it reads in a fork as well: its startup values,
 * the end that it asks for itself, the log of slow statements, the count of errors.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectPg, failureOf, type PgConnection } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

const WAIT = ['--query-wait-timeout', '5s']
const SLOW = ['--log-slow', '1ms', '--log-slow-statements']
let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '3', ...WAIT, ...SLOW] })
})
after(() => server[Symbol.asyncDispose]())

/** A client in a transaction that has written. */
async function holder(tenant: string): Promise<PgConnection> {
  const one = await connectPg(server, tenant)
  await one.client.query('create table t(n int)')
  await one.client.query('begin; insert into t values (1)')
  return one
}

async function errors(kind: string): Promise<number> {
  const text = await (await server.request('/metrics')).text()
  const line = new RegExp(`^pgnap_errors_total\\{class="${kind}"\\} (\\d+)$`, 'm').exec(text)
  return Number(line?.[1] ?? 0)
}

test('who connects beside a transaction keeps what it came with, then and later', async () => {
  await using one = await holder('came')
  await using other = await connectPg(server, 'came', { options: '-c timezone=Asia/Tokyo' })
  const change = async (): Promise<unknown> => {
    await other.client.query(`set timezone = 'Europe/Rome'`)
    await other.client.query('reset timezone')
    return other.value('show timezone')
  }
  assert.equal(await change(), 'Asia/Tokyo')
  await one.client.query('commit')
  assert.equal(await change(), 'Asia/Tokyo')
  await one.client.query('begin; insert into t values (2)')
  assert.equal(await change(), 'Asia/Tokyo')
  await one.client.query('rollback')
  assert.equal(await one.value('show timezone'), 'UTC')
})

test('who terminates itself there is told so, and sent away', async () => {
  await using one = await holder('itself')
  await using other = await connectPg(server, 'itself')
  assert.equal(await other.value('select count(*) from t'), '0')
  const failure = await failureOf(other.value('select pg_terminate_backend(pg_backend_pid())'))
  assert.deepEqual([failure.severity, failure.code], ['FATAL', '57P01'])
  await one.client.query('commit')
  assert.equal(await one.value('select count(*) from t'), '1')
})

test('what is slow and what fails there is logged and counted', async () => {
  await using one = await holder('told')
  await using other = await connectPg(server, 'told')
  const before = await errors('22')
  await other.client.query(`select 'a fork' from generate_series(1, 30000)`)
  await assert.rejects(other.value('select 1/0'), { code: '22012' })
  assert.match(server.log(), /"statement":"select 'a fork' from generate_series/)
  assert.equal(await errors('22'), before + 1)
  await one.client.query('commit')
})

test('beside a transaction that has failed others read, and see what comes of it', async () => {
  await using one = await holder('failed')
  await using other = await connectPg(server, 'failed')
  const count = 'select count(*) from t'
  await assert.rejects(one.value('select 1/0'))
  assert.equal(await other.value(count), '0')
  await assert.rejects(one.value('select 1'), { code: '25P02' })
  assert.equal(await other.value(count), '0')
  const next = 'rollback; begin; insert into t values (2); commit; begin; select 1/0'
  await assert.rejects(one.client.query(next))
  assert.equal(await other.value(count), '1', 'from one failed transaction to the next')
  await one.client.query('rollback')
  assert.equal(await other.value(count), '1')
})
