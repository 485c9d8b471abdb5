/** Where this program keeps what it can make again: engines, and compiled code. */
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { packageRoot } from './package-root.ts'

const FOLDER_MODE = 0o700
/** Group and others may write. */
const FOREIGN_WRITERS = 0o022

/**
 * $PGNAP_CACHE, or `.pgnap-cache` in a checkout, or the user's cache folder (XDG Base Directory
 * Specification, which ignores relative names). May not exist.
 * @throws an error of node:os for a user without a home
 */
export function cacheFolder(): string {
  const chosen = process.env['PGNAP_CACHE']
  if (chosen !== undefined && chosen !== '') return chosen
  const root = packageRoot()
  if (existsSync(join(root, 'src'))) return join(root, '.pgnap-cache')
  const ofUser = process.env['XDG_CACHE_HOME'] ?? ''
  return join(isAbsolute(ofUser) ? ofUser : join(homedir(), '.cache'), 'pgnap')
}

/**
 * Keeps V8's compiled code in this thread from now on. It is run as it is found, so only in a
 * folder of this user in which nobody else may write; Node by itself takes the one for temporary
 * files. If there is none, nothing is kept.
 */
export function keepCompiledCode(): void {
  const folder = codeFolder()
  if (folder !== undefined) enableCompileCache(folder)
}

function codeFolder(): string | undefined {
  try {
    const folder = join(cacheFolder(), 'code')
    if (!isAbsolute(folder)) return undefined
    // Engines may be shared, as their hashes are checked.
    mkdirSync(dirname(folder), { recursive: true })
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
    return isOwn(folder) ? folder : undefined
  } catch {
    // Whatever is in the way of a cache is no reason not to start.
    return undefined
  }
}

/** On Windows, a profile belongs to its user. */
function isOwn(folder: string): boolean {
  const { uid, mode } = statSync(folder)
  return !process.geteuid || (uid === process.geteuid() && (mode & FOREIGN_WRITERS) === 0)
}
