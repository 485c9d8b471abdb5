import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { consoleSources } from '../../../test/support/console-sources.ts'
import type { Cell } from './table.ts'
import { TABLES } from './tables.ts'

const DOCUMENT = new URL('../../../docs/wire.md', import.meta.url)
const PAGE = { after: undefined, limit: 10 }

/** Rows as objects. */
async function show(name: string, sources = consoleSources()): Promise<Record<string, Cell>[]> {
  const table = TABLES[name]
  assert.ok(table, name)
  const { rows } = await table.read(sources, PAGE)
  return rows.map((row) =>
    Object.fromEntries(table.columns.map((column, at) => [column.name, row[at] ?? null])),
  )
}

const namesOf = (name: string): string =>
  (TABLES[name]?.columns ?? []).map((column) => column.name).join(' ')

test('the columns of PgBouncer 1.24 and 1.25, in its order', () => {
  assert.equal(
    namesOf('pools'),
    'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active ' +
      'sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us ' +
      'pool_mode load_balance_hosts',
  )
  const counters =
    'xact_count query_count received sent xact_time query_time wait_time client_parse_count ' +
    'server_parse_count bind_count'
  const named = (prefix: string): string =>
    ['server_assignment_count', ...counters.split(' ')].map((name) => prefix + name).join(' ')
  assert.equal(
    namesOf('stats'),
    `database ${named('total_')} ${named('avg_').replace('avg_received', 'avg_recv')}`,
  )
  assert.match(namesOf('stats_totals'), /^database server_assignment_count xact_count query_count /)
  assert.match(namesOf('stats_totals'), / bytes_received bytes_sent xact_time /)
  assert.match(namesOf('stats_averages'), / wait_time avg_client_parse_count /)
  const sockets =
    'type user database replication state addr port local_addr local_port connect_time ' +
    'request_time wait wait_us close_needed ptr link remote_pid tls application_name ' +
    'prepared_statements id'
  assert.equal(namesOf('clients'), `${sockets} transaction`)
  assert.equal(namesOf('servers'), sockets)
  assert.equal(
    namesOf('databases'),
    'name host port database force_user pool_size min_pool_size reserve_pool_size ' +
      'server_lifetime pool_mode load_balance_hosts max_connections current_connections ' +
      'max_client_connections current_client_connections paused disabled',
  )
  assert.equal(namesOf('lists'), 'list items')
  assert.equal(namesOf('config'), 'key value default changeable')
  assert.equal(namesOf('version'), 'version')
})

test('every table has as many cells as columns, of their types', async () => {
  for (const [name, table] of Object.entries(TABLES)) {
    const { columns } = table
    const { rows } = await table.read(consoleSources(), PAGE)
    assert.ok(rows.length > 0, name)
    for (const row of rows) {
      assert.equal(row.length, columns.length, name)
      row.forEach((cell, at) => {
        const { type, name: column } = columns[at] ?? { type: 'text', name: '' }
        const label = `${name}.${column} is ${String(cell)}`
        if (cell === null) assert.equal(type === 'text' || name === 'tenants', true, label)
        else if (type === 'text') assert.equal(typeof cell, 'string', label)
        else if (type === 'float8') assert.equal(typeof cell, 'number', label)
        else assert.ok(Number.isSafeInteger(cell), label)
      })
    }
  }
})

test('a pool is a tenant with clients or a slot, and the console', async () => {
  const [acme, itself, ...others] = await show('pools')
  assert.deepEqual(others, [], 'a tenant that only naps is none')
  const { database, user, cl_active, cl_waiting, sv_active, sv_idle, maxwait, maxwait_us } =
    acme ?? {}
  assert.deepEqual([database, user, cl_active, cl_waiting], ['acme', 'postgres', 1, 1])
  assert.deepEqual([sv_active, sv_idle, maxwait, maxwait_us], [1, 0, 1, 250_500])
  assert.deepEqual([itself?.['database'], itself?.['cl_active']], ['pgnap', 1])
})

test('clients and slots, one by one', async () => {
  const [client, own] = await show('clients')
  assert.deepEqual(
    [client?.['addr'], client?.['port'], client?.['state'], client?.['wait'], client?.['id']],
    ['127.0.0.1', 4000, 'waiting', 1, 77],
  )
  assert.equal(client?.['connect_time'], '1970-01-01 00:00:01 UTC')
  assert.deepEqual([own?.['database'], own?.['state']], ['pgnap', 'idle'])
  const servers = await show('servers')
  assert.deepEqual(
    servers.map(({ database, state, ptr }) => [database, state, ptr]),
    [
      ['acme', 'active', 'shard 0 slot 0'],
      ['', 'free', 'shard 1 slot 1'],
    ],
  )
})

test('totals are sums, averages are per second or per event', async () => {
  const sources = consoleSources()
  const duration = { count: 4, totalMs: 2, p50Ms: 1, p99Ms: 1, maxMs: 1, histogram: {} }
  sources.control.poolFacts = { ...sources.control.poolFacts, requests: 5_000, execute: duration }
  const [stats] = await show('stats', sources)
  assert.equal(stats?.['database'], '*')
  assert.equal(stats?.['total_query_count'], 5_000)
  assert.equal(stats?.['avg_query_count'], 5, 'in the 1,000 s that the clock of the test shows')
  assert.deepEqual([stats?.['total_query_time'], stats?.['avg_query_time']], [2_000, 500])
})

test('TOTALS has a row for each number, by the names that PgBouncer has inside', async () => {
  const names = (await show('totals')).map(({ name }) => name)
  assert.equal(names.length, 22)
  for (const name of ['total_query_count', 'total_client_bytes', 'avg_ps_bind_count']) {
    assert.ok(names.includes(name), name)
  }
})

test('tenants by pages; one without a store yet has no size', async () => {
  const sources = consoleSources()
  const tenants = TABLES['tenants']
  assert.ok(tenants)
  const first = await tenants.read(sources, { after: undefined, limit: 1 })
  assert.deepEqual([first.rows[0]?.[0], first.rows[0]?.[7]], ['acme', 28_672])
  assert.equal(first.notice, "1 more: SHOW TENANTS AFTER 'acme'")
  const second = await tenants.read(sources, { after: 'acme', limit: 1 })
  assert.deepEqual(
    [second.rows.length, second.rows[0]?.[0], second.rows[0]?.[7], second.notice],
    [1, 'napper', null, undefined],
  )
})

test('METRICS has every number of the pool, under its own name', async () => {
  const sources = consoleSources()
  const evictions = { idle: 3 }
  sources.control.poolFacts = { ...sources.control.poolFacts, hitRate: 0.25, evictions }
  const metrics = new Map(
    (await show('metrics', sources)).map(({ name, value }) => [name, value] as const),
  )
  assert.equal(metrics.get('hit_rate'), 0.25)
  assert.equal(metrics.get('slots_in_use'), 0)
  assert.equal(metrics.get('evictions_idle'), 3)
  assert.ok(metrics.has('wakes_napping_p99_ms') && metrics.has('tenants_napping'))
})

test('HELP names every command', async () => {
  const commands = (await show('help')).map(({ command }) => command)
  assert.deepEqual(
    commands,
    Object.keys(TABLES).map((name) => `SHOW ${name.toUpperCase()}`),
  )
})

test('docs/wire.md names every table, and no column that is not there', () => {
  const text = readFileSync(DOCUMENT, 'utf8')
  for (const name of Object.keys(TABLES)) {
    assert.match(text, new RegExp(`^\\| \`SHOW .*\\b${name.toUpperCase()}\`.* \\|`, 'm'), name)
  }
  for (const [, name = '', cell = ''] of text.matchAll(/^\| `SHOW (\w+)` \|[^|]*\|(.*)\|$/gm)) {
    const columns = namesOf(name.toLowerCase()).split(' ')
    const [sentence = ''] = cell.replaceAll(/\([^)]*\)/g, '').split('. ')
    const named = Array.from(sentence.matchAll(/`(\w+[^_`])`/g), ([, word = '']) => word)
    assert.ok(named.length > 0, name)
    for (const word of named) assert.ok(columns.includes(word), `${name}: ${word}`)
  }
})
