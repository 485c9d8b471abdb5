/**
 * The tables that PgBouncer does not have: tenants that nap, slots, shards, and every number of
 * `GET /v1/pool`.
 */
import type {
  DurationFacts,
  Tier,
  PoolFacts,
  ShardFacts,
  StoreFacts,
  TenantActivity,
} from '../control.ts'
import type { Cell, Page, Rows, Table } from './table.ts'
import { type ConsoleSources, cellsOf, column, table } from './table.ts'
import { timeText } from './time-text.ts'

type TenantRow = TenantActivity & Partial<StoreFacts>

const TENANT_COLUMNS = [
  column<TenantRow>('name', 'text', ({ name }) => name),
  column<TenantRow>('state', 'text', ({ state }) => state),
  column<TenantRow>('shard', 'int4', ({ shard }) => shard),
  column<TenantRow>('backend', 'text', ({ use }) => use),
  column<TenantRow>('clients', 'int4', ({ clients }) => clients),
  column<TenantRow>('waiting', 'int4', ({ waiting }) => waiting),
  column<TenantRow>('longest_wait_ms', 'float8', ({ longestWaitMs }) => rounded(longestWaitMs)),
  column<TenantRow>('store_bytes', 'int8', ({ storeBytes = null }) => storeBytes),
  column<TenantRow>('created', 'text', ({ createdMs = 0 }) => timeText(createdMs)),
  column<TenantRow>('pinned', 'text', ({ pinned }) => (pinned ? 'yes' : 'no')),
  column<TenantRow>('paused', 'text', ({ paused }) => (paused ? 'yes' : 'no')),
]

/** A page has a limit because each of its rows looks at a file. */
async function readTenants({ control }: ConsoleSources, page: Page): Promise<Rows> {
  const { tenants } = await control.activity()
  const { after, limit } = page
  const wanted = tenants
    .filter(({ name }) => after === undefined || name > after)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const shown = wanted.slice(0, limit)
  const stores = await control.storeFacts(shown.map(({ name }) => name))
  const rows = cellsOf(
    TENANT_COLUMNS,
    shown.map((tenant): TenantRow => ({ ...tenant, ...stores.get(tenant.name) })),
  )
  const left = wanted.length - shown.length
  const last = shown.at(-1)?.name
  if (left === 0 || last === undefined) return { rows }
  return { rows, notice: `${left} more: SHOW TENANTS AFTER '${last}'` }
}

const TENANTS: Table = {
  about: 'tenants that have clients, a slot or an image; takes AFTER name and LIMIT count',
  columns: TENANT_COLUMNS,
  paged: true,
  read: readTenants,
}

type ShardPool = PoolFacts & { readonly shard: number }

const SLOTS = table<ShardPool>(
  'slots of each shard, and how well they serve',
  async ({ control }) => (await control.pools()).map((pool, shard) => ({ ...pool, shard })),
  [
    column('shard', 'int4', ({ shard }) => shard),
    column('total', 'int4', ({ slots }) => slots.total),
    column('idle', 'int4', ({ slots }) => slots.idle),
    column('in_use', 'int4', ({ slots }) => slots.inUse),
    column('max', 'int4', ({ slots }) => slots.max),
    column('created', 'int8', ({ slots }) => slots.created),
    column('lost', 'int8', ({ slots }) => slots.lost),
    column('retired', 'int8', ({ slots }) => slots.retired),
    column('memory_bytes', 'int8', ({ memoryBytes }) => memoryBytes),
    column('tenants_waiting', 'int4', ({ tenantsWaitingForSlot }) => tenantsWaitingForSlot),
    column('requests', 'int8', ({ requests }) => requests),
    column('hit_rate', 'float8', ({ hitRate }) => rounded(hitRate)),
    column('forks', 'int4', ({ forks }) => forks.now),
    column('fork_reads', 'int8', ({ forks }) => forks.reads),
    column('images', 'int4', ({ images }) => images.count),
    column('image_bytes', 'int8', ({ images }) => images.bytes),
    column('images_to_disk', 'int8', ({ images }) => images.toDisk),
    column('images_dropped', 'int8', ({ images }) => images.dropped),
  ],
)

interface TierFacts {
  readonly tier: Tier
  readonly requests: number
  readonly share: number
  /** Undefined for `awake`: there is nothing to load. */
  readonly wakes: DurationFacts | undefined
}

const TIERS = table<TierFacts>(
  'where requests find their tenant, and what it takes to load it from there',
  async ({ control }) => tiersOf(await control.pool()),
  [
    column('tier', 'text', ({ tier }) => tier),
    column('requests', 'int8', ({ requests }) => requests),
    column('share', 'float8', ({ share }) => rounded(share)),
    column('wakes', 'int8', ({ wakes }) => wakes?.count ?? 0),
    column('wake_p50_ms', 'float8', ({ wakes }) => wakes?.p50Ms ?? 0),
    column('wake_p99_ms', 'float8', ({ wakes }) => wakes?.p99Ms ?? 0),
    column('wake_max_ms', 'float8', ({ wakes }) => wakes?.maxMs ?? 0),
  ],
)

function tiersOf({ found, wakes }: PoolFacts): TierFacts[] {
  const served = Object.values(found).reduce((sum, count) => sum + count, 0)
  return Object.entries(found).map(([name, requests]) => {
    const tier = name as Tier
    return {
      tier,
      requests,
      share: served === 0 ? 0 : requests / served,
      wakes: tier === 'awake' ? undefined : wakes[tier],
    }
  })
}

const SHARDS = table<ShardFacts>(
  'threads, how busy they have been and how soon they answer; asks none of them',
  async ({ control }) => control.shards(),
  [
    column('shard', 'int4', ({ shard }) => shard),
    column('state', 'text', ({ state }) => state),
    column('silent_ms', 'float8', ({ silentMs }) => rounded(silentMs)),
    column('moved_out', 'int8', ({ movedOut }) => movedOut),
    column('move_refusals', 'int8', ({ moveRefusals }) => moveRefusals),
    column('guests', 'int4', ({ guests }) => guests),
    column('lag_ms', 'float8', ({ lagMs }) => rounded(lagMs)),
    column('active_ms', 'float8', ({ activeMs }) => rounded(activeMs)),
    column('idle_ms', 'float8', ({ idleMs }) => rounded(idleMs)),
  ],
)

const METRICS = table<readonly [string, number]>(
  'every number of GET /v1/pool',
  async ({ control }) => numbersIn(await control.pool(), ''),
  [
    column('name', 'text', ([name]): Cell => name),
    column('value', 'float8', ([, value]): Cell => rounded(value)),
  ],
)

/** In the order in which SHOW HELP lists them. */
export const OWN_TABLES: Readonly<Record<string, Table>> = {
  tenants: TENANTS,
  slots: SLOTS,
  tiers: TIERS,
  shards: SHARDS,
  metrics: METRICS,
}

/** `{ wake: { p50Ms: 1 } }` as `wake_p50_ms` 1, however deep, so that no number is left out. */
function numbersIn(value: object, prefix: string): (readonly [string, number])[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const name = prefix + key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    if (typeof inner === 'number') return [[name, inner] as const]
    return typeof inner === 'object' && inner !== null ? numbersIn(inner, `${name}_`) : []
  })
}

function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6
}
