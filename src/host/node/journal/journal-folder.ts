/** Where the journals of a data folder are; a folder that was ended in good order has none. */
import { join } from 'node:path'

const FOLDER = 'journal'
export const JOURNAL_SUFFIX = '.journal'
/** Names of files that could not be brought home, and are kept for people to look at. */
export const KEPT_SUFFIX = '.kept'
export const JOURNAL_FOLDER_MODE = 0o700

export function journalsPath(dataPath: string): string {
  return join(dataPath, FOLDER)
}
