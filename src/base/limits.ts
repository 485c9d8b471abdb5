/**
 * Every limit of pgnap: its default, its unit (last word of its name), and what happens beyond it.
 * A limit without a reason is a number somebody will raise; a wait without a limit is a hang.
 * `docs/limits.md` lists the same names; a test compares the two.
 */
export const LIMITS = {
  /** Longest tenant name. It is a file name and a Postgres identifier (63 bytes). Beyond: 3D000. */
  tenantNameCharsMax: 63,
  /** One startup packet, as in Postgres (MAX_STARTUP_PACKET_LENGTH). Beyond: closed. */
  startupPacketBytesMax: 10_000,
  /**
   * Connections that have not said yet whom they want. Beyond: the one that is longest here closes,
   * if it has had `loginGraceMs`; with `connectionsMax` more at once.
   */
  startupConnectionsMax: 1_000,
  /**
   * Share of the connections that may belong to clients which have not proven who they are. Beyond:
   * the one that is longest here closes, if it has had `loginGraceMs`.
   */
  loginShareMax: 0.5,
  /**
   * Nobody is sent away while logging in before that: when a server comes back, everybody comes.
   */
  loginGraceMs: 5_000,
  /** Failed logins of one address (of IPv6: network) at once. Beyond: 53400 until one is over. */
  loginFailuresPerAddressMax: 20,
  /** One failed login of an address is forgotten after so long. */
  loginFailuresAddressRefillMs: 5_000,
  /** Failed logins as one user of one tenant at once, from anywhere. Beyond: 53400. */
  loginFailuresPerRoleMax: 100,
  /** One of them is forgotten after so long. */
  loginFailuresRoleRefillMs: 1_000,
  /** Counts of failed logins, four rows of so many: 1 MiB for any number of addresses and names. */
  loginCellsPerRow: 65_536,
  /** Time from accept to the end of authentication, as Postgres's authentication_timeout. */
  authenticationMs: 60_000,
  /** One message from a client, kept whole in memory. Beyond: 54000 and the connection closes. */
  messageBytesMax: 268_435_456, // 256 MiB
  /** One message without data (Sync, Execute, ...), as in Postgres. Beyond: 54000, closed. */
  smallMessageBytesMax: 10_000,
  /**
   * Data of one COPY FROM STDIN, collected before it runs. Beyond: the COPY fails, the client goes
   * on.
   */
  copyBytesMax: 1_073_741_824, // 1 GiB
  /** Bytes on disk of a table, of which a dump reads so many at once. One page it always reads. */
  dumpCopyBytes: 2_097_152, // 2 MiB
  /** Data of one COPY of a restored dump, of which a larger table takes several. */
  restoreCopyBytes: 16_777_216, // 16 MiB
  /** COPYs FROM STDIN, prepared by one client, or in one message. Beyond: 54000, closed. */
  preparedCopiesMax: 1_000,
  /**
   * Statements of one client that were prepared in a fork and are to be prepared again in the
   * backend. Beyond: what prepares another one waits for the backend.
   */
  owedStatementsMax: 1_000,
  /**
   * Unsent answer bytes of a client beyond which nothing more of it is run until it has read them.
   */
  answerPauseBytes: 1_048_576, // 1 MiB
  /**
   * Unread answer bytes kept for a client that does not read. Beyond: its query is cancelled,
   * 54000.
   */
  answerBytesMax: 268_435_456, // 256 MiB
  /** Bytes collected for one pipeline before the backend must take them. Beyond: reading pauses. */
  pipelineBytesMax: 16_777_216, // 16 MiB
  /** Rest of a client in a pipeline without Sync or Flush, before what it has sent is run. */
  pipelineQuietMs: 50,
  /** A cancel request waits so long for the rest of what had come in part when it came. */
  cancelPartMs: 10_000,
  /** Wait of a batch that only prepares, before it is answered ahead of its turn. */
  earlyParseMs: 20,
  /** Queries of one client's pipeline run in one piece. Beyond: others may come in between. */
  batchQueriesMax: 8,
  /** A piece of a pipeline that takes longer is slow: the next ones are single queries again. */
  pieceQuickMs: 50,
  /** Clients of one server, as PgBouncer's max_client_conn but for a process of many tenants. */
  connectionsMax: 10_000,
  /** Clients of one tenant. Beyond: 53300 for the newcomer. */
  connectionsPerTenantMax: 1_000,
  /** A WebSocket is asked for a sign of life this often; what lies between keeps it open for it. */
  webSocketPingMs: 30_000,
  /** A WebSocket whose client has given no sign of life for so long, and could, is closed. */
  webSocketSilenceMs: 120_000,
  /**
   * Bytes from a WebSocket whose client is not greeted yet: a frame is held whole. Beyond: closed.
   */
  webSocketUnprovenBytesMax: 10_485_760, // 10 MiB
  /** The same of all such WebSockets together. Beyond: the one that holds most is closed. */
  webSocketUnprovenTotalBytesMax: 268_435_456, // 256 MiB
  /**
   * What one thread holds for its clients, all together. Beyond: of the tenant whose clients hold
   * most, the one that holds most is closed with 53200.
   */
  clientBytesMax: 1_073_741_824, // 1 GiB
  /** What one client may have held without being counted. */
  heldUncountedBytes: 65_536, // 64 KiB
  /** A WebSocket that had to be closed for what it holds is cut off so much later. */
  webSocketGoodbyeMs: 1_000,
  /** Requests that one HTTP connection sends ahead of their turn. Beyond: it is cut off. */
  httpPipelineMax: 100,
  /** Queries of one batch over HTTP, run in one transaction. Beyond: 22023. */
  httpBatchQueriesMax: 10_000,
  /** Clients of the admin console, beside all others. Beyond: 53300 for the newcomer. */
  consoleConnectionsMax: 100,
  /** One message to the admin console, whose commands are short. Beyond: 54000 for the message. */
  consoleMessageBytesMax: 65_536, // 64 KiB
  /** Prepared statements and portals of one client of the admin console; beyond: 54000. */
  consolePreparedMax: 1_000,
  /**
   * How long a command of the admin console waits for the shards, one of which may be in a long
   * statement. Beyond: 57014 for the command.
   */
  consoleAnswerMs: 5_000,
  /** Requests waiting for one tenant's backend. Beyond: 53300. */
  tenantQueueMax: 1_000,
  /** Tenants waiting for a slot of one shard. Beyond: 53300. */
  shardQueueMax: 10_000,
  /** Longest wait for a backend or a slot, as PgBouncer's query_wait_timeout. Beyond: 57014. */
  queryWaitMs: 120_000,
  /**
   * Longest that a statement may hold its thread while other tenants have clients in the shard:
   * what `queryWaitMs` promises them, kept by another thread. Beyond: it is cancelled (57014).
   */
  neighbourWaitMs: 120_000,
  /** An awake tenant nobody has used for this long naps. */
  napAfterMs: 10_000,
  /** Slots of one shard that may be awake at once. More tenants than this share them by turns. */
  slotsPerShard: 8,
  /**
   * Who has run so many batches in a row, each of which took less than `quickBatchMs`, is trusted:
   * the next one is run without being able to pause, which costs as much as a small statement.
   */
  trustBatches: 16,
  /** Less than this is quick, in ms of the thread. */
  quickBatchMs: 5,
  /** A trusted batch that takes this long costs its tenant the trust. */
  longBatchMs: 20,
  /** For so long at first, in ms; each time for twice as long, up to the next one. */
  distrustMs: 5_000,
  distrustMsMax: 600_000,
  /**
   * Thread time that a tenant may use in one go while other tenants have clients in the shard. Then
   * it stands in line: whoever has had the least of the thread lately is next.
   */
  turnMs: 0.1,
  /** The same while no other tenant has a client: only so that newcomers are heard. */
  turnAloneMs: 20,
  /**
   * Longest pause before a batch that is expected to be long, if a tenant that has had less of the
   * thread was busy a moment ago: its next statement is on the way.
   */
  turnPauseMs: 2,
  /** Time in which what a tenant has used of the thread counts half. */
  turnMemoryMs: 100,
  /** Slots kept ready beyond those in use, so that a wake never waits 40 ms for one to be made. */
  spareSlots: 1,
  /** While tenants wait for a slot, a tenant keeps its slot this long, and then gives it up. */
  slotQuantumMs: 5,
  /**
   * So does one whose clients say nothing for this long: a swap costs about as much. Also how long
   * a client in an open transaction has said nothing when others begin to read in a fork.
   */
  slotThinkMs: 1,
  /**
   * At most one tenant that is busy has to give its slot up in this time: a swap takes the thread
   * for some three milliseconds, and if each batch of each tenant had to wait for one, the thread
   * would do nothing else. Whoever waits for a slot waits as much longer for each before him.
   */
  slotBusyMs: 12,
  /**
   * A tenant is busy, as far as that goes, until it has said nothing for this long, or the thread
   * has had nothing to do for `slotThinkMs`: then a swap takes nobody's time.
   */
  slotLullMs: 20,
  /**
   * Wait of a client that begins a transaction beside another's before a fork is made for it: most
   * transactions write, and one fork takes the thread 2 ms.
   */
  beginPatienceMs: 20,
  /**
   * Share of the thread that forks may take in which somebody did more than read, of one tenant.
   * Beyond: the others who read beside its transaction wait for the next fork.
   */
  vainForkShare: 0.05,
  /** So long they wait at most, however long the one in vain has taken. */
  vainForkPauseMs: 500,
  /**
   * Statements of one tenant, and of one client, of which it is known whether a fork was in vain.
   * Beyond: the oldest are forgotten, and are as good as new.
   */
  triedTextsMax: 100,
  /** So long that is known: what they call may be made anew, or be another one for others. */
  triedTextMs: 10_000,
  /** Rest of a whole shard before a spare slot is made, which holds its thread up for 50 ms. */
  slotQuietMs: 100,
  /** Pause after a slot could not be made. Meanwhile the slots that exist are shared. */
  slotRetryMs: 1_000,
  /**
   * Rest after a tenant's last batch before upkeep (checkpoint, vacuum, prune) takes its backend.
   */
  maintenanceIdleMs: 200,
  /**
   * Longest wait for the VACUUM of another table, once it has given way several times. Beyond: it
   * gives way again. A VACUUM that has to freeze has no such bound.
   */
  upkeepPatienceMaxMs: 60_000,
  /**
   * How long a moment in which nobody asks for anything is sought for a table's VACUUM. Beyond:
   * that counts as if it had given way.
   */
  upkeepSeekMs: 10_000,
  /** What a VACUUM of upkeep changes is committed so much at a time: who comes waits for that. */
  upkeepCommitBytes: 1_048_576, // 1 MiB
  /** Longest pause before upkeep that has given way is tried again. */
  upkeepRestMaxMs: 60_000,
  /**
   * A tenant whose upkeep has given way stays awake so much longer than `napAfterMs`, unless its
   * slot is wanted. Beyond: it naps, and upkeep goes on when it is awake again.
   */
  upkeepAwakeMs: 600_000, // 10 min
  /**
   * Tenants of one shard that have left their slots, and whose stores are to give room back once
   * their history has passed. Beyond: the oldest do so when they are next used.
   */
  restingUpkeepMax: 10_000,
  /**
   * Tenants whose table counters are kept in memory between wakes. Beyond: least recently used go.
   */
  maintenanceLedgersMax: 10_000,
  /** Linear memory of one slot. Beyond: SQLSTATE 53200 for the query, and the slot is replaced. */
  slotMemoryBytesMax: 536_870_912, // 512 MiB
  /**
   * A slot whose memory grew past this is replaced when its tenant leaves: wasm memory never
   * shrinks.
   */
  slotRetireBytes: 100_663_296, // 96 MiB
  /** Clean pages of one tenant kept in memory while it is awake. Beyond: least recently used go. */
  pageCacheBytesMax: 8_388_608, // 8 MiB
  /** Clean pages of a napping tenant kept in memory: its next writes find what was there. */
  nappingCacheBytesMax: 262_144, // 256 KiB
  /** Napping tenants of one shard whose stores stay open. Beyond: the oldest are opened anew. */
  nappingStoresOpenMax: 64,
  /**
   * Images of napping tenants of one server in memory. Beyond: the oldest go to disk, or are
   * dropped.
   */
  imageCacheBytes: 536_870_912, // 512 MiB
  /** Images of one server on disk. Beyond: the oldest are removed, their tenants boot. */
  imageDiskBytes: 4_294_967_296, // 4 GiB
  /**
   * Tenants of one shard whose rhythm is learned, to be warmed before they are asked for. Beyond:
   * the one that was not asked for longest is forgotten.
   */
  keepWarmTenantsMax: 10_000,
  /** Pause of a shard between two tenants that it warms, of which each takes it a millisecond. */
  keepWarmPauseMs: 100,
  /** Tenants of one server that are pinned. Beyond: 53400 for the next. */
  pinnedTenantsMax: 1_000,
  /** Pages dirtied since the last commit. Beyond: they are committed even inside a transaction. */
  dirtyBytesMax: 33_554_432, // 32 MiB
  /** Temporary files of one awake tenant, kept in memory. Beyond: 53100 for the statement. */
  ephemeralBytesMax: 268_435_456, // 256 MiB
  /** Size of one tenant's database. Beyond: 53100, and the tenant stays readable. */
  databaseBytesMax: 68_719_476_736, // 64 GiB
  /**
   * What databases that grow leave free on their disk, or a quarter of it if that is less. Beyond:
   * 53100 for the statement. Recovery, clean-up and small files may use it.
   */
  diskReserveBytes: 67_108_864, // 64 MiB
  /**
   * WAL written since the last checkpoint that makes the pool issue one when the tenant is idle.
   */
  checkpointIdleBytes: 1_048_576, // 1 MiB
  /**
   * The same, without waiting for the tenant to become idle. Bounds recovery time and file size.
   */
  checkpointBusyBytes: 16_777_216, // 16 MiB
  /**
   * Images of the tenants of one isolate (Workers) that are not in its slot, with what is open for
   * them. Beyond: the least recently used are dropped, their tenants boot from their stores.
   */
  isolateImageBytes: 15_728_640, // 15 MiB
  /** Where images are packed and unpacked in an isolate. Beyond: in pieces, copied once more. */
  isolateScratchBytesMax: 3_145_728, // 3 MiB
  /** Memory of images that were used up, kept for those that come, in an isolate. */
  isolateSpareBytesMax: 2_097_152, // 2 MiB
  /**
   * All that is accounted for of the memory of an isolate, which has 128 MB: the rest is for
   * JavaScript, compiled code and requests. Beyond: images are dropped, then a query gets 53200.
   */
  isolateBytesMax: 112_000_000,
  /** Linear memory of the slot of an isolate. Beyond: 53200 for the query. */
  isolateSlotMemoryBytesMax: 58_720_256, // 56 MiB
  /** A slot of an isolate that grew past this is replaced when another tenant comes. */
  isolateSlotRetireBytes: 41_943_040, // 40 MiB
  /** Such a slot is given up when its tenant has been at rest for so long. */
  isolateSlotRetireMs: 1_000,
  /**
   * Templates of earlier builds in the memory of an isolate, 10 MB each. Beyond: fetched again for
   * the next tenant that stands on one.
   */
  isolateTemplatesMax: 1,
  /** As `pageCacheBytesMax`, in an isolate. */
  isolatePageCacheBytesMax: 2_097_152, // 2 MiB
  /** As `dirtyBytesMax`, in an isolate. */
  isolateDirtyBytesMax: 8_388_608, // 8 MiB
  /** As `ephemeralBytesMax`, in an isolate. */
  isolateEphemeralBytesMax: 16_777_216, // 16 MiB
  /** As `databaseBytesMax`, in a Durable Object, which may hold 10 GB with its history. */
  isolateDatabaseBytesMax: 8_589_934_592, // 8 GiB
  /** What a client on a WebSocket may send ahead of its answers. Beyond: it is closed (1009). */
  isolateAheadBytesMax: 8_388_608, // 8 MiB
  /** As `clientBytesMax`, of an isolate. Three quarters of it have room for a request's body. */
  isolateClientBytesMax: 14_680_064, // 14 MiB
  /** As `answerBytesMax`, in an isolate: it has to fit a call between two objects, of 32 MiB. */
  isolateAnswerBytesMax: 16_777_216, // 16 MiB
  /** As `loginCellsPerRow`, in an isolate: 128 KiB. */
  isolateLoginCellsPerRow: 8_192,
  /** Objects of an isolate that have a slot of their own. Beyond: the least recently used ends. */
  isolateOwnSlotsMax: 2,
  /**
   * Rows of one tenant in a compute that is not at its home (Workers). Beyond: 53100, and the hint
   * to ask at its home.
   */
  replicaBytesMax: 12_582_912, // 12 MiB
  /** Rows of all tenants in one compute. Beyond: the least recently used go. */
  computeRowBytes: 12_582_912, // 12 MiB
  /** Tenants of one compute. Beyond: those that are asked least go, with what is kept of them. */
  computeSeatsMax: 200,
  /** Longest wait for others of the same tenant in one compute. Beyond: 57014. */
  computeTurnMs: 30_000,
  /** Times that a statement is begun whose memory was given to other tenants before it had run. */
  computeAttemptsMax: 5,
  /** Answers that may not have arrived, kept by a compute for whoever asks again. */
  rememberedAnswerBytes: 4_194_304, // 4 MiB
  /** How long it is known that there was an answer that was not kept. */
  rememberedNameMs: 180_000,
  /** Such questions, some 150 bytes each. Beyond: 08007 for any that is asked again. */
  rememberedNamesMax: 20_000,
  /** One message between a router and its compute. Beyond: it goes by a call. */
  socketMessageChars: 1_000_000,
  /** Longest wait for an answer over a WebSocket. Beyond: a call asks what has come of it. */
  socketAnswerMs: 60_000,
  /** Commits of a compute that the home has not got. Beyond: 53100 for the statement. */
  undeliveredBytesMax: 12_582_912, // 12 MiB
  /** One message with commits for a home; a call between objects may have 32 MiB. */
  deliveryBytesMax: 16_777_216, // 16 MiB
  /** Rows in one message of a home, about: one read more. Beyond: the next message has the rest. */
  sliceBytes: 4_194_304, // 4 MiB
  /** Commits of computes after which a home forgets history past its retention. */
  homeTidyCommits: 200,
  /** How long a compute waits for its tenant's home. Beyond: 08001, or 08007 for a commit. */
  homeAnswerMs: 5_000,
  /** For so long a commit of which nothing is heard is brought home again (`cdc`, `async`). */
  deliveryMs: 15_000,
  /** Pause before it is brought again; twice as long each time. */
  deliveryPauseMs: 50,
  /** Acknowledged commits that are on their way home (`async`). Beyond: the answer waits. */
  bufferedCommitsMax: 64,
  /** The same in bytes. */
  bufferedBytesMax: 2_097_152, // 2 MiB
  /** How long they are on their way, unless the home does not answer. */
  flushMs: 1_000,
  /** So long a home asks for commits that were acknowledged. Beyond: a line in the log. */
  flushOrderMs: 60_000,
  /** History kept by default for time travel and delta sync. */
  retentionMs: 300_000,
  /** Commits pruned in one slice, so that pruning never holds up a client. */
  pruneCommitsPerSlice: 256,
  /**
   * A shard that gives no sign of life for this long, with a query running, is cancelled (57014).
   */
  shardHangMs: 300_000,
  /** After the cancel, how long the shard may still take before its thread is replaced (57P01). */
  shardGraceMs: 5_000,
  /** Tenants that are not in the shard of their hash. Beyond: nobody moves until one goes home. */
  movedTenantsMax: 1_000,
  /** Tenants that move to another shard in one go; the next go is three seconds later. */
  movesPerRoundMax: 8,
  /** How often it is looked whether one shard is hot and another idle. */
  rebalanceEveryMs: 1_000,
  /**
   * How long a move waits for calls of its tenant that are in flight: on a hot shard they take
   * long. Beyond: it stays. Those that come meanwhile wait, as they would for the tenant's one
   * backend.
   */
  moveQuietMs: 2_000,
  /** A tenant that has moved, or would not, is left alone for this long. */
  moveAgainMs: 60_000,
  /** A moved tenant that nobody has used for this long goes back to the shard of its hash. */
  moveHomeMs: 600_000,
  /** Body of one HTTP request, as Neon's. Beyond: 413. */
  httpRequestBytesMax: 10_485_760, // 10 MiB
  /** Body of one HTTP answer, kept whole in memory, as Neon's. Beyond: 507. */
  httpAnswerBytesMax: 10_485_760, // 10 MiB
  /** Tenants in one answer. Beyond: the next page has the rest. */
  tenantsPerPageMax: 1_000,
  /** Tenants with series of their own in the metrics: the busiest. Beyond: only in the sums. */
  metricsTenantsMax: 20,
  /** How long a scrape waits for the shards. Beyond: their numbers are those of the one before. */
  metricsAnswerMs: 3_000,
  /** Characters of one line of the log of slow statements. Beyond: cut. */
  slowStatementCharsMax: 2_000,
  /** Prepared statements of one client whose text is kept for that log. Beyond: the oldest go. */
  slowPreparedMax: 100,
  /**
   * Names of tenants kept in order for the pages to come, while there are such. Beyond: the folder
   * is read once for so many, instead of once for all.
   */
  tenantNamesKeptMax: 250_000,
  /**
   * Empty stores of 28 KB that a shard keeps ready for new tenants, once one has come. None: the
   * next new tenant waits for an fsync.
   */
  spareStoresMax: 16,
  /**
   * Age of an empty store that a new tenant still gets: lists tell when its file was made. Older:
   * made anew.
   */
  spareStoreAgeMaxMs: 600_000, // 10 min
  /**
   * DROP DATABASE, and a copy, wait so long for other sessions to leave, and a copy once more for
   * what they have open; as in Postgres (CountOtherDBBackends). Beyond: 55006.
   */
  othersLeaveMs: 5_000,
  /**
   * What loading or saving a tenant's data may take before it counts as more than `optimal`: the
   * user waits for it (sync-delay.ts). From here on: `acceptable`.
   */
  syncOptimalMs: 100,
  /** From here on: `warning`, a line in the log. */
  syncAcceptableMs: 300,
  /** From here on: `slow`, and it counts for the share that raises the alarm. */
  syncWarningMs: 500,
  /** From here on: `critical`. */
  syncCriticalMs: 1_000,
  /** Loads, and saves, that are looked back on for their trend. */
  syncWindow: 10,
  /** Share of that window that may be slow. From here on: the alarm is raised. */
  syncWarningRatio: 0.3,
  /** Lines in the log about slow loads and saves of one monitor. More often: only counted. */
  syncLogPauseMs: 1_000,
  /** Tenants whose heat is kept, to know the hottest. Beyond: the coldest are forgotten. */
  hotTenantsMax: 500,
  /** After so long the heat of a tenant that nobody asks is half of what it was. */
  hotHalfLifeMs: 600_000, // 10 min
  /** Below this a tenant is not hot: one request keeps it so for one half-life. */
  hotScoreMin: 0.5,
  /** An isolate tells no more often than this which tenants it was asked for. */
  hotReportMs: 20_000,
  /** Tenants that it counts between two reports. Beyond: others are not counted. */
  hotCountedMax: 200,
  /** Of the hottest tenants, so many are kept warm unless PGNAP_KEEP_WARM_TENANTS says more. */
  keptWarmDefault: 8,
  /** As many it may say: each is a call of an object, every minute. */
  keptWarmMax: 100,
  /** What one of them may take before the next one's turn. */
  keepWarmEachMs: 2_000,
  /**
   * Rest after the last request to a tenant that was written to, before its object's alarm sees to
   * its upkeep, unless PGNAP_UPKEEP_AFTER_SECONDS says otherwise.
   */
  upkeepAlarmMs: 60_000,
  /** What PGNAP_UPKEEP_AFTER_SECONDS may be at most, in ms. */
  upkeepAlarmMaxMs: 86_400_000, // 1 day
  /** Longest work of one such alarm. Beyond: the rest is for the next one. */
  upkeepAlarmWorkMs: 5_000,
  /** An object whose storage is being restored begins anew after so long, unless it is told to. */
  restoreRestartMs: 1_000,
  /** Tenants that a Worker holds in memory without any storage. Beyond: the oldest are gone. */
  warmTenantsMax: 16,
  /** Databases of SQLite that an isolate keeps in memory at rest. Beyond: loaded again. */
  isolateSqliteKeptMax: 8,
  /** Bytes of them, as they are stored. Beyond: the least recently used go. */
  isolateSqliteKeptBytesMax: 16_777_216, // 16 MiB
  /** One object that an isolate loads whole. Beyond: STORE_FULL. */
  isolateObjectBytesMax: 33_554_432, // 32 MiB
  /** One request to a bucket over the network. Beyond: STORE_IO. */
  bucketAnswerMs: 30_000,
  /** SIGTERM to exit: how long clients may finish what they are doing. */
  drainMs: 10_000,
  /** Of which images may still be written when all clients have gone. */
  drainImagesMs: 5_000,
  /** Then HTTP clients may take their answers for so long. Beyond: they are cut off. */
  drainAnswersMs: 2_000,
  /** One direction of the ring between main thread and shard (portable transport). Full: waits. */
  ringBytes: 4_194_304, // 4 MiB
  /** Bytes of one connection that may be under way in a ring. Beyond: its reading pauses. */
  ringWindowBytes: 1_048_576, // 1 MiB
  /** One record in a ring; longer payloads are split. */
  ringRecordBytesMax: 65_536, // 64 KiB
  /** A client that takes none of its last bytes, or leaves its side open so long, is cut off. */
  lingerMs: 30_000,
} as const

export type LimitName = keyof typeof LIMITS
