/** `/metrics` of the shipped program, with real clients: numbers rise as they should. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectPg } from '../support/clients.ts'
import { type Family, parseExposition } from '../support/exposition.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(() => server[Symbol.asyncDispose]())

async function scrape(): Promise<{ text: string; value: (series: string) => number }> {
  const answer = await server.request('/metrics')
  assert.equal(answer.status, 200)
  const text = await answer.text()
  const families = parseExposition(text)
  const samples = new Map([...families.values()].flatMap((each: Family) => [...each.samples]))
  return { text, value: (series) => samples.get(series) ?? 0 }
}

test('counters rise by what clients do, and nothing that they say is shown', async () => {
  const before = await scrape()
  await using one = await connectPg(server, 'metered')
  await one.client.query('create table secret_table(n int)')
  await one.client.query('insert into secret_table values ($1)', [471_174_711])
  await assert.rejects(one.client.query('select secret_column from secret_table'))
  await assert.rejects(one.client.query(`do $$ begin raise 'x' using errcode = 'ZQ123'; end $$`))
  await one.client.query(`set statement_timeout = '50ms'`)
  await assert.rejects(one.client.query('select pg_sleep(10)'))
  await server.request('/v1/tenants/metered/query', {
    method: 'POST',
    body: JSON.stringify({ sql: 'select 1 / 0' }),
  })
  const { text, value } = await scrape()
  const rise = (series: string): number => value(series) - before.value(series)
  assert.equal(rise('pgnap_errors_total{class="42"}'), 1)
  assert.equal(rise('pgnap_errors_total{class="22"}'), 1, 'over HTTP too')
  assert.equal(rise('pgnap_errors_total{class="57"}'), 1)
  assert.equal(rise('pgnap_errors_total{class="other"}'), 1)
  assert.equal(rise('pgnap_statements_cancelled_total'), 1)
  assert.equal(rise('pgnap_wake_seconds_count{tier="new"}'), 1)
  assert.equal(rise('pgnap_clients'), 1)
  assert.ok(rise('pgnap_requests_total') >= 7)
  assert.ok(rise('pgnap_commit_seconds_count') >= 2)
  assert.ok(rise('pgnap_execute_seconds_sum') > 0.04, 'in seconds')
  assert.ok(value('pgnap_tenant_busy_seconds_total{tenant="metered"}') > 0)
  assert.ok(value('process_resident_memory_bytes') > 0)
  assert.doesNotMatch(text, /secret|471174711|pg_sleep|ZQ123|postgres@/)
})

test('a thread that computes is seen at work, and the others at rest', async () => {
  await using one = await connectPg(server, 'metered')
  const shard = ((await (await server.request('/v1/tenants/metered')).json()) as { shard: number })
    .shard
  const active = (which: number | string): string =>
    `pgnap_event_loop_active_seconds_total{thread="${which}"}`
  const before = await scrape()
  await one.client.query('select pg_sleep(1.5)')
  const { value } = await scrape()
  const rise = (series: string): number => value(series) - before.value(series)
  assert.ok(rise(active(`shard ${shard}`)) >= 1.5)
  assert.ok(rise(active(`shard ${1 - shard}`)) < 1)
  assert.ok(rise('pgnap_event_loop_idle_seconds_total{thread="main"}') > 0)
  assert.ok(rise(active('main')) >= 0)
  assert.ok(value(`pgnap_shard_lag_seconds{shard="${shard}"}`) > 0)
  assert.equal(value('pgnap_paused'), 0)
})

test('with passwords the metrics are for those who have one for the server', async () => {
  const answer = await server.request('/metrics', { method: 'POST' })
  assert.equal(answer.status, 405)
  assert.equal(answer.headers.get('Allow'), 'GET')
})
