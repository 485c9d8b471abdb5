/** pgnap inside another program: the same shards as a server, without any port. */
import { createPgnap, type Pgnap } from '../../front/library.ts'
import { type ConfigInput, validate } from './config.ts'
import { openLog } from './log.ts'
import { startBackend } from './server.ts'

/** Settings of a server, as far as they make sense without ports. */
export type OpenOptions = Pick<
  ConfigInput,
  | 'data'
  | 'shards'
  | 'slots'
  | 'napAfterMs'
  | 'createOnConnect'
  | 'slotMemoryBytesMax'
  | 'databaseBytesMax'
  | 'queryWaitMs'
  | 'retentionMs'
  | 'logLevel'
>

/**
 * Opens a data folder and serves its tenants to this program. Tenants run in threads, one per shard
 * (one by default), so that a query never blocks the caller's event loop.
 *
 * @example
 * await using nap = await openPgnap({ data: './data' })
 * const { rows } = await nap.tenant('acme').query('select $1::int + 1 as n', [41])
 *
 * @throws PgnapError DATA_FOLDER_IN_USE, CONFIG_INVALID, ENGINE_ASSETS_INVALID, STORE_IO
 */
export async function openPgnap(options: OpenOptions = {}): Promise<Pgnap> {
  const config = validate({ shards: 1, logLevel: 'warn', ...options })
  const log = openLog({ level: config.logLevel })
  const backend = await startBackend(config, { log, version: 'library' })
  return createPgnap(backend.control, () => backend.drain())
}
