/** The numbers of the pool, one line for each, in Prometheus's names and units. */
import type { PoolFacts } from '../../front/control.ts'
import type { MetricsWriter, Series } from './metrics-writer.ts'

/** What any host can tell of the pools that it sees. */
export function poolMetrics(writer: MetricsWriter, pool: PoolFacts): void {
  slotMetrics(writer, pool)
  requestMetrics(writer, pool)
  tenantMetrics(writer, pool)
  durationMetrics(writer, pool)
  syncMetrics(writer, pool)
}

/** What only a server has: shards to move between, tenants to be kept warm, or at rest. */
export function serverMetrics(writer: MetricsWriter, pool: PoolFacts): void {
  const { done, refused, failed, guests } = pool.moves
  writer.counters('pgnap_moves_total', 'Tenants that were to leave their shard.', 'outcome', {
    done,
    refused,
    failed,
  })
  writer.gauge('pgnap_tenants_moved', 'Tenants that are not in the shard of their hash.', guests)
  const { known, pinned, ...warm } = pool.keepWarm
  writer.gauge('pgnap_keep_warm_tenants', 'Tenants whose rhythm is known.', known)
  writer.gauge('pgnap_tenants_pinned', 'Tenants whose image is kept in memory.', pinned)
  const { all, tenants } = pool.paused
  writer.gauge('pgnap_paused', 'Whether an administrator has paused all tenants.', Number(all))
  writer.gauge('pgnap_tenants_paused', 'Tenants that are paused by their names.', tenants.length)
  writer.counter('pgnap_keep_warm_total', 'Tenants warmed before they were asked for.', warm.warmed)
  writer.counters('pgnap_keep_warm_outcomes_total', 'What came of warming them.', 'outcome', {
    hit: warm.hits,
    wasted: warm.wasted,
    failed: warm.failed,
  })
}

function slotMetrics(writer: MetricsWriter, { slots, memoryBytes, images }: PoolFacts): void {
  const { gauge, gauges, counter, counters } = writer
  gauges('pgnap_slots', 'Slots by what they are doing.', 'state', {
    idle: slots.idle,
    in_use: slots.inUse,
  })
  gauge('pgnap_slots_max', 'As many slots there may be.', slots.max)
  gauge('pgnap_slot_memory_bytes', 'Linear memory of all slots.', memoryBytes)
  counter('pgnap_slots_created_total', 'Slots that were made.', slots.created)
  counter('pgnap_slots_lost_total', 'Slots that were lost by an error.', slots.lost)
  counter('pgnap_slots_retired_total', 'Slots that were given up for their size.', slots.retired)
  gauge('pgnap_images', 'Images of napping tenants in memory.', images.count)
  gauge('pgnap_image_bytes', 'Bytes of these images.', images.bytes)
  counters('pgnap_images_moved_total', 'Images that memory had no room for.', 'to', {
    disk: images.toDisk,
    dropped: images.dropped,
  })
}

function requestMetrics(writer: MetricsWriter, pool: PoolFacts): void {
  const { gauge, counter, counters } = writer
  gauge('pgnap_clients', 'Clients that are connected to a tenant.', pool.clients)
  gauge('pgnap_clients_waiting', 'Of them, those that wait for their turn.', pool.clientsWaiting)
  counter('pgnap_requests_total', 'Batches of messages that clients sent.', pool.requests)
  counters(
    'pgnap_requests_served_total',
    'Batches that were run, by where they found their tenant.',
    'tier',
    pool.found,
  )
  counter('pgnap_requests_rejected_total', 'Batches that were turned away.', pool.rejections)
  counters(
    'pgnap_errors_total',
    'Errors that clients were told, by the class of their SQLSTATE.',
    'class',
    pool.errors.byClass,
  )
  counter(
    'pgnap_statements_cancelled_total',
    'Statements that were cancelled, by a request or by a limit of time.',
    pool.errors.cancelled,
  )
}

function tenantMetrics(writer: MetricsWriter, pool: PoolFacts): void {
  const { gauge, gauges, counter, counters } = writer
  gauges('pgnap_tenants', 'Tenants that this process has met.', 'state', { ...pool.tenants })
  gauge('pgnap_tenants_waiting', 'Tenants that wait for a slot.', pool.tenantsWaitingForSlot)
  counters('pgnap_evictions_total', 'Tenants taken out of their slot.', 'reason', pool.evictions)
  counter('pgnap_boot_failures_total', 'Tenants that could not be loaded.', pool.bootFailures)
  counter('pgnap_upkeep_steps_total', 'Steps of upkeep.', pool.upkeepSteps)
}

function durationMetrics(writer: MetricsWriter, pool: PoolFacts): void {
  const { counter, durations } = writer
  const wakes = Object.entries(pool.wakes).map(([tier, facts]): Series => [facts, { tier }])
  durations('pgnap_wake_seconds', 'Loading a tenant.', wakes)
  durations('pgnap_leave_seconds', 'Taking a tenant out of its slot.', [[pool.leave]])
  durations('pgnap_wait_seconds', 'Waits of batches, for a backend or a slot.', [[pool.wait]])
  durations('pgnap_execute_seconds', 'Running a batch in its backend.', [[pool.execute]])
  durations('pgnap_commit_seconds', 'Making changes durable, the fsync included.', [[pool.commit]])
  const { commits, syncs } = pool.journal
  counter('pgnap_journal_commits_total', 'Commits that shared a sync with others.', commits)
  counter('pgnap_journal_syncs_total', 'Syncs that such commits have shared.', syncs)
}

/** Judged by what a user notices; see src/base/sync-delay.ts. */
function syncMetrics(writer: MetricsWriter, { syncDelay }: PoolFacts): void {
  const { load, save } = syncDelay
  const { gauges, counters } = writer
  counters('pgnap_loads_total', 'Tenants loaded, by delay.', 'status', { ...load.byStatus })
  counters('pgnap_saves_total', 'Commits, by delay.', 'status', { ...save.byStatus })
  gauges('pgnap_sync_alarm', 'Whether too many of the last ones were slow.', 'kind', {
    load: Number(load.alarm),
    save: Number(save.alarm),
  })
}
