/**
 * A data folder whose stores may be read: what the end of a server has left in journals is brought
 * home first. Most starts find none, and load nothing for it.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from '../../../base/log.ts'
import {
  type DataFolder,
  type DataFolderOptions,
  explainFolderError,
  openDataFolder,
} from '../data-folder.ts'
import { JOURNAL_SUFFIX, journalsPath } from './journal-folder.ts'

/** Throws as `openDataFolder` and `recoverJournals` do. */
export async function openSettledFolder(options: DataFolderOptions, log: Log): Promise<DataFolder> {
  const folder = openDataFolder(options)
  try {
    const paths = leftoverJournals(folder.path)
    if (paths.length === 0) return folder
    const { recoverJournals } = await import('./recover-journals.ts')
    recoverJournals(paths, { tenantsPath: folder.tenantsPath, clock: options.clock, log })
    return folder
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
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
