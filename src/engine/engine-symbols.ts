/**
 * What this room calls of Postgres, and reads of it, by name. PGlite's module exports two thousand
 * names more, for whatever extension anybody might load; making an instance takes time for each, so
 * an engine build leaves only these and what its own side modules import (`needed-exports.ts`).
 */
import type { EmscriptenModule } from './emscripten.ts'

export const ENGINE_FUNCTIONS = [
  'AbortCurrentTransaction',
  'CommitTransactionCommand',
  'CreateCommandTag',
  'ExecForceStoreHeapTuple',
  'GetCommandTagName',
  'GetCurrentTransactionNestLevel',
  'GetFlushRecPtr',
  'GetUserNameFromId',
  'LockHeldByMe',
  'OidFunctionCall1Coll',
  'PreventInTransactionBlock',
  'ProcessInterrupts',
  'RollbackAndReleaseCurrentSubTransaction',
  'SetConfigOption',
  'StartTransactionCommand',
  'XLogFlush',
  'before_shmem_exit',
  'cancel_before_shmem_exit',
  'defGetString',
  'find_option',
  'hash_search',
  'hash_seq_init',
  'hash_seq_search',
  'palloc',
  'pg_checksum_page',
  'set_config_option',
  'standard_ProcessUtility',
  'superuser',
  'text_to_cstring',
] as const

export const ENGINE_VARIABLES = [
  'BufferBlocks',
  'InterruptPending',
  'MyDatabaseId',
  'MyProc',
  'MyProcPid',
  'PG_exception_stack',
  'ProcessUtility_hook',
  'QueryCancelPending',
  'TransamVariables',
  '__heap_base',
  'error_context_stack',
  'object_access_hook',
  'pgWalUsage',
  'pg_global_prng_state',
] as const

/** Members of the module that it exports: there they have one underscore less. */
const MODULE_MEMBERS = {
  ___stack_pointer: true,
  _malloc: true,
  _PostgresMainLoopOnce: true,
  _PostgresMainLongJmp: true,
  _PostgresSendReadyForQueryIfNecessary: true,
  _IsTransactionBlock: true,
  _GetConfigOption: true,
  _GetSessionUserId: true,
  _GetUserId: true,
  _pq_buffer_remaining_data: true,
  _pgl_pq_flush: true,
  _pgl_set_rw_cbs: true,
  _pgl_set_system_fn: true,
  _pgl_set_popen_fn: true,
  _pgl_set_pclose_fn: true,
  _pgl_setPGliteActive: true,
  _pgl_startPGlite: true,
  _pgl_run_atexit_funcs: true,
} satisfies Record<Extract<keyof EmscriptenModule, `_${string}`>, true>

export const ENGINE_SYMBOLS: readonly string[] = [
  ...ENGINE_FUNCTIONS,
  ...ENGINE_VARIABLES,
  ...Object.keys(MODULE_MEMBERS).map((name) => name.slice(1)),
  'emscripten_get_sbrk_ptr',
]

export type EngineFunction = (typeof ENGINE_FUNCTIONS)[number]
export type EngineVariable = (typeof ENGINE_VARIABLES)[number]
