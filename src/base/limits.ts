/**
 * Every limit of pgnap: its default, its unit (last word of its name), and what happens beyond it.
 * A limit without a reason is a number somebody will raise; a wait without a limit is a hang.
 * `docs/limits.md` lists the same names; a test compares the two.
 */
import { assert } from './assert.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

export const LIMITS = {
  /** Longest tenant name. It is a file name and a Postgres identifier (63 bytes). Beyond: 3D000. */
  tenantNameCharsMax: 63,
  /** One startup packet, as in Postgres (MAX_STARTUP_PACKET_LENGTH). Beyond: the connection closes. */
  startupPacketBytesMax: 10_000,
  /** Time from accept to the end of authentication, as Postgres's authentication_timeout. */
  authenticationMs: 60_000,
  /** One message from a client, kept whole in memory. Beyond: 54000 and the connection closes. */
  messageBytesMax: 256 * MIB,
  /** Unread answer bytes kept for a client that does not read. Beyond: its query is cancelled, 54000. */
  answerBytesMax: 256 * MIB,
  /** Bytes collected for one pipeline before the backend must take them. Beyond: reading pauses. */
  pipelineBytesMax: 16 * MIB,
  /** Clients of one server, as PgBouncer's max_client_conn but for a process of many tenants. */
  connectionsMax: 10_000,
  /** Clients of one tenant. Beyond: 53300 for the newcomer. */
  connectionsPerTenantMax: 1_000,
  /** Requests waiting for one tenant's backend. Beyond: 53300. */
  tenantQueueMax: 1_000,
  /** Tenants waiting for a slot of one shard. Beyond: 53300. */
  shardQueueMax: 10_000,
  /** Longest wait for a backend or a slot, as PgBouncer's query_wait_timeout. Beyond: 57014. */
  queryWaitMs: 120_000,
  /** An awake tenant nobody has used for this long naps. */
  napAfterMs: 10_000,
  /** Slots of one shard that may be awake at once. More tenants than this share them by turns. */
  slotsPerShard: 8,
  /** Linear memory of one slot. Beyond: SQLSTATE 53200 for the query, and the slot is replaced. */
  slotMemoryBytesMax: 512 * MIB,
  /** A slot whose memory grew past this is replaced when its tenant leaves: wasm memory never shrinks. */
  slotRetireBytes: 96 * MIB,
  /** Clean pages of one tenant kept in memory while it is awake. Beyond: least recently used go. */
  pageCacheBytesMax: 8 * MIB,
  /** Pages dirtied since the last commit. Beyond: they are committed even inside a transaction. */
  dirtyBytesMax: 32 * MIB,
  /** Size of one tenant's database. Beyond: 53100, and the tenant stays readable. */
  databaseBytesMax: 64 * GIB,
  /** WAL written since the last checkpoint that makes the pool issue one when the tenant is idle. */
  checkpointIdleBytes: 1 * MIB,
  /** The same, without waiting for the tenant to become idle. Bounds recovery time and file size. */
  checkpointBusyBytes: 16 * MIB,
  /** History kept by default for time travel and delta sync. */
  retentionMs: 5 * 60_000,
  /** Commits pruned in one slice, so that pruning never holds up a client. */
  pruneCommitsPerSlice: 256,
  /** A shard that gives no sign of life for this long, with a query running, is cancelled (57014). */
  shardHangMs: 300_000,
  /** After the cancel, how long the shard may still take before its thread is replaced (57P01). */
  shardGraceMs: 5_000,
  /** SIGTERM to exit: how long clients may finish what they are doing. */
  drainMs: 10_000,
} as const satisfies Readonly<Record<string, number>>

export type LimitName = keyof typeof LIMITS

assert(LIMITS.slotRetireBytes < LIMITS.slotMemoryBytesMax, 'a slot retires before its ceiling')
assert(LIMITS.checkpointIdleBytes <= LIMITS.checkpointBusyBytes, 'idle checkpoints come first')
assert(LIMITS.dirtyBytesMax <= LIMITS.slotMemoryBytesMax, 'dirty pages fit beside a slot')
assert(LIMITS.pipelineBytesMax <= LIMITS.messageBytesMax, 'a message may fill a pipeline')
assert(LIMITS.shardGraceMs < LIMITS.shardHangMs, 'grace is shorter than patience')
