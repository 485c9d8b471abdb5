/**
 * The tables that PgBouncer has too, with the columns of PgBouncer 1.24 and 1.25 in its order, so
 * that its exporters and dashboards work.
 *
 * Its words mean here: a database is a tenant, a server connection is a slot, a pool is a tenant
 * that has clients or a slot. What pgnap does not count is 0 (docs/wire.md lists it), because
 * exporters fail on NULL.
 */
import { LIMITS } from '../../base/limits.ts'
import { CONSOLE_NAME } from '../../router/tenant-name.ts'
import type { Activity, ClientFacts, PoolFacts, SlotFacts, TenantActivity } from '../control.ts'
import type { Cell, ColumnOf, ConsoleSources, Table } from './table.ts'
import { column, table } from './table.ts'
import { timeText } from './time-text.ts'

/** Whatever user name a client gives: in its tenant it is this one. */
const TENANT_USER = 'postgres'

// Pools and databases

type PoolRow = Pick<TenantActivity, 'name' | 'state' | 'use'> &
  Pick<TenantActivity, 'clients' | 'waiting' | 'longestWaitMs'>

/** Tenants with clients or a slot, in order of name, and the console itself. */
function poolRows(activity: Activity, sources: ConsoleSources): PoolRow[] {
  const pools = activity.tenants
    .filter(({ clients, state }) => clients > 0 || state === 'awake' || state === 'waking')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const clients = sources.clients().length
  const itself = { name: CONSOLE_NAME, state: 'cold', use: 'nobody', clients } as const
  return [...pools, { ...itself, waiting: 0, longestWaitMs: 0 }]
}

async function readPools(sources: ConsoleSources): Promise<PoolRow[]> {
  return poolRows(await sources.control.activity(), sources)
}

const isConsole = ({ name }: PoolRow): boolean => name === CONSOLE_NAME
const userOf = (pool: PoolRow): string => (isConsole(pool) ? CONSOLE_NAME : TENANT_USER)
/** A slot goes from client to client between transactions; the console knows none. */
const modeOf = (pool: PoolRow): string => (isConsole(pool) ? 'statement' : 'transaction')
const awake = (use: TenantActivity['use']) => (pool: PoolRow) =>
  Number(pool.state === 'awake' && pool.use === use)

const POOLS = table<PoolRow>(
  'tenants with clients or a slot, as PgBouncer shows pools',
  readPools,
  [
    column('database', 'text', ({ name }) => name),
    column('user', 'text', userOf),
    column('cl_active', 'int4', ({ clients, waiting }) => clients - waiting),
    column('cl_waiting', 'int4', ({ waiting }) => waiting),
    column('cl_active_cancel_req', 'int4', zero),
    column('cl_waiting_cancel_req', 'int4', zero),
    column('sv_active', 'int4', awake('client')),
    column('sv_active_cancel', 'int4', zero),
    column('sv_being_canceled', 'int4', zero),
    column('sv_idle', 'int4', awake('nobody')),
    column('sv_used', 'int4', zero),
    column('sv_tested', 'int4', awake('upkeep')),
    column('sv_login', 'int4', ({ state }) => Number(state === 'waking')),
    column('maxwait', 'int4', ({ longestWaitMs }) => wholeSeconds(longestWaitMs)),
    column('maxwait_us', 'int4', ({ longestWaitMs }) => restMicroseconds(longestWaitMs)),
    column('pool_mode', 'text', modeOf),
    column('load_balance_hosts', 'text', () => null),
  ],
)

interface DatabaseRow extends PoolRow {
  readonly paused: boolean
}

/** What is paused is seen, whether somebody uses it or not. */
async function readDatabases(sources: ConsoleSources): Promise<DatabaseRow[]> {
  const pools = await readPools(sources)
  const paused = new Set(sources.operations.paused().tenants)
  const known = new Set(pools.map(({ name }) => name))
  const nothing = {
    state: 'cold',
    use: 'nobody',
    clients: 0,
    waiting: 0,
    longestWaitMs: 0,
  } as const
  const others = [...paused]
    .filter((name) => !known.has(name))
    .map((name) => ({ name, ...nothing }))
  return [...pools, ...others].map((pool) => ({ ...pool, paused: paused.has(pool.name) }))
}

const DATABASES = table<DatabaseRow>('the same, as PgBouncer shows databases', readDatabases, [
  column('name', 'text', ({ name }) => name),
  column('host', 'text', () => null),
  column('port', 'int4', zero),
  column('database', 'text', ({ name }) => name),
  column('force_user', 'text', userOf),
  column('pool_size', 'int4', (pool) => (isConsole(pool) ? 0 : 1)),
  column('min_pool_size', 'int4', zero),
  column('reserve_pool_size', 'int4', zero),
  column('server_lifetime', 'int4', zero),
  column('pool_mode', 'text', modeOf),
  column('load_balance_hosts', 'text', () => null),
  column('max_connections', 'int4', (pool) => (isConsole(pool) ? 0 : 1)),
  column('current_connections', 'int4', ({ state }) => Number(state === 'awake')),
  column('max_client_connections', 'int4', (pool) =>
    isConsole(pool) ? LIMITS.consoleConnectionsMax : LIMITS.connectionsPerTenantMax,
  ),
  column('current_client_connections', 'int4', ({ clients }) => clients),
  column('paused', 'int4', ({ paused }) => Number(paused)),
  column('disabled', 'int4', zero),
])

// Connections

interface SocketRow {
  readonly type: 'C' | 'S'
  readonly user: string
  readonly database: string
  readonly state: string
  readonly peer: ClientFacts['peer']
  readonly connectedMs: number
  readonly requestMs: number
  readonly waitMs: number
  /** Where it is: PgBouncer's address of an object. */
  readonly place: string
  readonly applicationName: string
  readonly id: number
}

/** PgBouncer has no word for a client that sits in its transaction. */
interface ClientRow extends SocketRow {
  readonly transaction: ClientFacts['transaction']
}

/** Numbers of slots begin anew in each shard: these do not. */
function serverId({ shard, id }: SlotFacts, shardCount: number): number {
  return id * shardCount + shard
}

const SOCKET_COLUMNS: readonly ColumnOf<SocketRow>[] = [
  column('type', 'text', ({ type }) => type),
  column('user', 'text', ({ user }) => user),
  column('database', 'text', ({ database }) => database),
  column('replication', 'text', () => 'none'),
  column('state', 'text', ({ state }) => state),
  column('addr', 'text', ({ peer }) => peer?.address ?? ''),
  column('port', 'int4', ({ peer }) => peer?.port ?? 0),
  column('local_addr', 'text', ({ peer }) => peer?.localAddress ?? ''),
  column('local_port', 'int4', ({ peer }) => peer?.localPort ?? 0),
  column('connect_time', 'text', ({ connectedMs }) => timeText(connectedMs)),
  column('request_time', 'text', ({ requestMs }) => timeText(requestMs)),
  column('wait', 'int4', ({ waitMs }) => wholeSeconds(waitMs)),
  column('wait_us', 'int4', ({ waitMs }) => restMicroseconds(waitMs)),
  column('close_needed', 'int4', zero),
  column('ptr', 'text', ({ place }) => place),
  column('link', 'text', () => ''),
  column('remote_pid', 'int4', zero),
  column('tls', 'text', ({ peer }) => peer?.tls ?? ''),
  column('application_name', 'text', ({ applicationName }) => applicationName),
  column('prepared_statements', 'int4', zero),
  column('id', 'int4', ({ id }) => id),
]

function clientRow(client: ClientFacts): ClientRow {
  const { processId, ...rest } = client
  return { ...rest, type: 'C', place: '', id: processId }
}

function slotRow(slot: SlotFacts, shardCount: number): SocketRow {
  const { shard, id, tenant = '', isFork } = slot
  return {
    type: 'S',
    user: tenant === '' ? '' : TENANT_USER,
    database: tenant,
    state: serverState(slot),
    peer: undefined,
    connectedMs: slot.awakeSinceMs,
    requestMs: slot.lastUsedMs,
    waitMs: 0,
    place: `shard ${shard} slot ${id}${isFork ? ' fork' : ''}`,
    applicationName: '',
    id: serverId(slot, shardCount),
  }
}

function serverState({ tenant, state, use }: SlotFacts): string {
  if (tenant === undefined) return 'free'
  if (state === 'waking') return 'new'
  if (use === 'upkeep') return 'tested'
  return use === 'client' ? 'active' : 'idle'
}

const byDatabase = (a: SocketRow, b: SocketRow): number =>
  a.database === b.database ? a.id - b.id : a.database < b.database ? -1 : 1

const CLIENTS = table<ClientRow>(
  'connections of clients',
  async (sources) => {
    const { clients } = await sources.control.activity()
    return [...clients, ...sources.clients()].map(clientRow).toSorted(byDatabase)
  },
  [...SOCKET_COLUMNS, column<ClientRow>('transaction', 'text', ({ transaction }) => transaction)],
)

const SERVERS = table<SocketRow>(
  'slots and the tenants in them',
  async ({ control }) => {
    const { slots } = await control.activity()
    const shardCount = control.shards().length
    const ordered = slots.toSorted((a, b) => a.shard - b.shard || a.id - b.id)
    return ordered.map((slot) => slotRow(slot, shardCount))
  },
  SOCKET_COLUMNS,
)

// Statistics

/** PgBouncer calls some of its counters differently in each table. */
interface Counter {
  /** In STATS_TOTALS and STATS_AVERAGES; in the others with `total_` and `avg_` before it. */
  readonly plain: string
  /** In STATS. */
  readonly total?: string
  readonly average?: string
  /** In STATS_AVERAGES. */
  readonly plainAverage?: string
  /** In TOTALS, without what stands before it. */
  readonly internal?: string
  readonly of: (pool: PoolFacts) => number
  /** What its average is taken over. Default: the seconds since the start. */
  readonly per?: (pool: PoolFacts) => number
}

const wakeCount = ({ napping, asleep, cold, new: first }: PoolFacts['wakes']): number =>
  napping.count + asleep.count + cold.count + first.count

const COUNTERS: readonly Counter[] = [
  { plain: 'server_assignment_count', of: ({ wakes }) => wakeCount(wakes) },
  { plain: 'xact_count', of: zero },
  { plain: 'query_count', of: ({ requests }) => requests },
  {
    plain: 'bytes_received',
    total: 'total_received',
    average: 'avg_recv',
    internal: 'client_bytes',
    of: zero,
  },
  {
    plain: 'bytes_sent',
    total: 'total_sent',
    average: 'avg_sent',
    internal: 'server_bytes',
    of: zero,
  },
  { plain: 'xact_time', of: zero },
  {
    plain: 'query_time',
    of: ({ execute }) => execute.totalMs * 1000,
    per: ({ execute }) => execute.count,
  },
  { plain: 'wait_time', of: ({ wait }) => wait.totalMs * 1000, per: ({ wait }) => wait.count },
  prepared('client_parse_count'),
  prepared('server_parse_count'),
  prepared('bind_count'),
]

function prepared(plain: string): Counter {
  return { plain, plainAverage: `avg_${plain}`, internal: `ps_${plain}`, of: zero }
}

interface Statistics {
  readonly pool: PoolFacts
  readonly seconds: number
}

async function readStatistics(sources: ConsoleSources): Promise<Statistics[]> {
  const { control, clock, startedMs } = sources
  const seconds = Math.max(1, (clock.nowMs() - startedMs) / 1000)
  return [{ pool: await control.pool(), seconds }]
}

function averageOf({ of, per }: Counter, { pool, seconds }: Statistics): number {
  const over = per ? per(pool) : seconds
  return over === 0 ? 0 : Math.round(of(pool) / over)
}

/** One row for all tenants: as in PgBouncer's configuration, `*` is any database. */
const ALL: ColumnOf<Statistics> = column('database', 'text', () => '*')
const totalName = ({ plain, total = `total_${plain}` }: Counter): string => total
const averageName = ({ plain, average = `avg_${plain}` }: Counter): string => average

function totals(nameOf: (counter: Counter) => string): ColumnOf<Statistics>[] {
  return COUNTERS.map((counter) =>
    column(nameOf(counter), 'int8', ({ pool }) => Math.round(counter.of(pool))),
  )
}

function averages(nameOf: (counter: Counter) => string): ColumnOf<Statistics>[] {
  return COUNTERS.map((counter) =>
    column(nameOf(counter), 'int8', (statistics) => averageOf(counter, statistics)),
  )
}

const STATS = table('requests and their times, since the start', readStatistics, [
  ALL,
  ...totals(totalName),
  ...averages(averageName),
])
const STATS_TOTALS = table('the totals of STATS', readStatistics, [
  ALL,
  ...totals(({ plain }) => plain),
])
const STATS_AVERAGES = table('the averages of STATS', readStatistics, [
  ALL,
  ...averages(({ plain, plainAverage = plain }) => plainAverage),
])

// Lists of names and values

type Pair = readonly [string, Cell]
const first = ([name]: Pair): Cell => name
const second = ([, value]: Pair): Cell => value

const TOTALS = table<Pair>(
  'STATS with a row for each number',
  async (sources) => {
    const statistics = await readStatistics(sources)
    const numbers = [
      ...totals(({ plain, internal = plain }) => `total_${internal}`),
      ...averages(({ plain, internal = plain }) => `avg_${internal}`),
    ]
    return numbers.flatMap(({ name, of }) => statistics.map((row): Pair => [name, of(row)]))
  },
  [column('name', 'text', first), column('value', 'int8', second)],
)

async function readLists(sources: ConsoleSources): Promise<Pair[]> {
  const activity = await sources.control.activity()
  const clients = [...activity.clients, ...sources.clients()]
  const loggingIn = clients.filter(({ state }) => state === 'login').length
  const free = activity.slots.filter(({ tenant }) => tenant === undefined).length
  const pools = poolRows(activity, sources).length
  return [
    ['databases', pools],
    ['users', await sources.userCount()],
    ['peers', 0],
    ['pools', pools],
    ['peer_pools', 0],
    ['free_clients', 0],
    ['used_clients', clients.length - loggingIn],
    ['login_clients', loggingIn],
    ['free_servers', free],
    ['used_servers', activity.slots.length - free],
    ['dns_names', 0],
    ['dns_zones', 0],
    ['dns_queries', 0],
    ['dns_pending', 0],
  ]
}

const LISTS = table<Pair>('how many of what', readLists, [
  column('list', 'text', first),
  column('items', 'int4', second),
])

const STATE = table<Pair>(
  'whether requests are taken',
  async ({ operations }) => {
    const { all } = operations.paused()
    return [
      ['active', all ? 'no' : 'yes'],
      ['paused', all ? 'yes' : 'no'],
      ['suspended', 'no'],
    ]
  },
  [column('key', 'text', first), column('value', 'text', second)],
)

const CONFIG = table('settings; a running server keeps what it started with', readSettings, [
  column('key', 'text', ({ name }) => name),
  column('value', 'text', ({ value }) => value),
  column('default', 'text', ({ otherwise }) => otherwise),
  column('changeable', 'text', () => 'no'),
])

async function readSettings({ settings }: ConsoleSources): Promise<ConsoleSources['settings']> {
  return settings
}

const VERSION = table<ConsoleSources>(
  'versions of pgnap and Postgres',
  async (sources) => [sources],
  [
    column(
      'version',
      'text',
      ({ version, serverVersion }) => `pgnap ${version} (PostgreSQL ${serverVersion})`,
    ),
  ],
)

/** In the order in which SHOW HELP lists them. */
export const PGBOUNCER_TABLES: Readonly<Record<string, Table>> = {
  pools: POOLS,
  stats: STATS,
  stats_totals: STATS_TOTALS,
  stats_averages: STATS_AVERAGES,
  totals: TOTALS,
  clients: CLIENTS,
  servers: SERVERS,
  databases: DATABASES,
  lists: LISTS,
  config: CONFIG,
  state: STATE,
  version: VERSION,
}

function zero(): number {
  return 0
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}

function restMicroseconds(ms: number): number {
  return Math.floor((ms % 1000) * 1000)
}
