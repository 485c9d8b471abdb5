/**
 * A data folder whose stores may be read: what the end of a server has left in journals is brought
 * home first, and before it is given up. Mostly there are none, and nothing is loaded for it.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import {
  type DataFolder,
  type DataFolderOptions,
  explainFolderError,
  openDataFolder,
} from '../data-folder.ts'
import { JOURNAL_SUFFIX, journalsPath } from './journal-folder.ts'

interface SettleOptions {
  readonly clock: Clock
  readonly log: Log
}

/** Throws as `openDataFolder` and `recoverJournals` do. */
export async function openSettledFolder(options: DataFolderOptions, log: Log): Promise<DataFolder> {
  const folder = openDataFolder(options)
  try {
    await settle(folder, { clock: options.clock, log })
    return folder
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
}

/**
 * Gives a folder up, of which all stores are closed. Threads that have died have left journals:
 * stores are to be true by themselves when somebody takes them away, or puts older ones in their
 * place. What cannot be settled now is left to whoever opens the folder next. Given up twice, it
 * is left alone the second time. Does not reject.
 */
export async function closeSettledFolder(
  folder: DataFolder,
  options: SettleOptions,
): Promise<void> {
  // The journals of who has it next are not to be touched.
  if (!folder.isHeld) return
  try {
    await settle(folder, options)
  } catch (error) {
    options.log.warn('journals are left in the data folder', { error })
  } finally {
    folder[Symbol.dispose]()
  }
}

async function settle({ path, tenantsPath }: DataFolder, options: SettleOptions): Promise<void> {
  const paths = leftoverJournals(path)
  if (paths.length === 0) return
  const { recoverJournals } = await import('./recover-journals.ts')
  recoverJournals(paths, { ...options, tenantsPath })
}

function leftoverJournals(dataPath: string): readonly string[] {
  const folder = journalsPath(dataPath)
  try {
    const files = readdirSync(folder).filter((file) => file.endsWith(JOURNAL_SUFFIX))
    return files.map((file) => join(folder, file))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw explainFolderError(dataPath, error)
  }
}
