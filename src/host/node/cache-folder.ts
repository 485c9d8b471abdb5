/** Where this program keeps what it can make again: engines, and compiled code. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from './package-root.ts'

/** $PGNAP_CACHE, or `.pgnap-cache` in a checkout, or the user's cache folder. May not exist. */
export function cacheFolder(): string {
  const chosen = process.env['PGNAP_CACHE']
  if (chosen !== undefined && chosen !== '') return chosen
  const root = packageRoot()
  if (existsSync(join(root, 'src'))) return join(root, '.pgnap-cache')
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'pgnap')
}

/**
 * For V8's compiled code, which is run as it is found: it must not lie where others may write, as
 * in the folder for temporary files, which is what Node takes by itself.
 */
export function codeFolder(): string {
  return join(cacheFolder(), 'code')
}
