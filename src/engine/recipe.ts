/**
 * What an engine build is made from and how Postgres is started in it. Everything here that changes
 * bytes or behaviour of a build is part of its fingerprint.
 */

/** Raise it when the steps of `build-assets.ts` or the layout of an instance change. */
export const RECIPE_VERSION = 37

export const POSTGRES_MAJOR = 18
/** What the module says of itself; a test compares the two. */
export const POSTGRES_VERSION = '18.6'

const MIB = 1024 * 1024

/**
 * Linear memory that a fresh instance declares. Measured: with shared_buffers=4MB the heap of the
 * base, an idle backend with warm catalogs, ends at 29.9 MiB; the next growth step would be 20 %
 * more.
 */
export const SLOT_MEMORY_BYTES_MIN: number = 30.25 * MIB

/** Size of a WAL segment. The default of 16 MB would be most of an empty database. */
export const WAL_SEGMENT_BYTES: number = MIB

export const SHARED_BUFFERS_BYTES: number = 4 * MIB

/** Command line of Postgres, without the data folder and the database. */
export const START_PARAMETERS: readonly string[] = [
  '--single',
  // No fsync: a store commit is atomic as a whole, so there is nothing to order inside it.
  '-F',
  // A newline does not end a command.
  '-j',
  ...settings({
    // The backend survives an error of its client's making.
    exit_on_error: 'false',
    // One thread: nothing that would want a second process.
    max_worker_processes: '0',
    max_parallel_workers: '0',
    max_parallel_workers_per_gather: '0',
    max_parallel_maintenance_workers: '0',
    io_method: 'sync',
    shared_buffers: `${SHARED_BUFFERS_BYTES / MIB}MB`,
    // At start Postgres duplicates a descriptor this often to learn how many it may have (1000 by
    // default: 1.5 ms of every wake). More files than this are opened by turns.
    max_files_per_process: '200',
    // Shared memory for its counters is taken from the heap: as a file of 1 MB it would be written,
    // and mapped, which here means copied, at every start (0.5 ms).
    min_dynamic_shared_memory: '2MB',
    // An acknowledged commit is in the WAL files. There is no WAL writer to bring it there later.
    synchronous_commit: 'on',
    // Nobody would ever confirm, archive or finish: a commit would wait for ever, WAL would pile
    // up, and a lock of a prepared transaction could not be waited for.
    synchronous_standby_names: '',
    archive_mode: 'off',
    max_prepared_transactions: '0',
    // Torn pages cannot happen: the store writes all pages of a commit or none.
    full_page_writes: 'off',
    // Recycled or zero-filled segments would be stored: 1 MB for an empty database.
    wal_recycle: 'off',
    wal_init_zero: 'off',
    min_wal_size: '2MB',
    max_wal_size: '64MB',
    // Statements belong to the tenant, not to the server's log.
    log_min_messages: 'fatal',
    log_min_error_statement: 'panic',
    log_checkpoints: 'false',
  }),
]

/**
 * Extensions that CREATE EXTENSION finds, by the name of their tar file. Their files are laid into
 * every slot by reference (no copy); their code is loaded when a tenant first uses it.
 */
export const EXTENSIONS: readonly string[] = [
  'amcheck',
  'bloom',
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'ltree',
  'pg_stat_statements',
  'pg_trgm',
  'pgcrypto',
  'tablefunc',
  'unaccent',
  'uuid-ossp',
  'vector',
]

/**
 * Postgres's own libraries that convert between UTF-8 and other encodings. Left out are JOHAB and
 * Shift JIS of 2004, which nobody is known to ask for, and each of which is as large as the others.
 */
export const CONVERSIONS: readonly string[] = [
  'utf8_and_big5.so',
  'utf8_and_cyrillic.so',
  'utf8_and_euc2004.so',
  'utf8_and_euc_cn.so',
  'utf8_and_euc_jp.so',
  'utf8_and_euc_kr.so',
  'utf8_and_euc_tw.so',
  'utf8_and_gb18030.so',
  'utf8_and_gbk.so',
  'utf8_and_iso8859.so',
  'utf8_and_iso8859_1.so',
  'utf8_and_sjis.so',
  'utf8_and_uhc.so',
  'utf8_and_win.so',
]

function settings(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}
