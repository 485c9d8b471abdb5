/**
 * Installs the peers into `bench/peers/node_modules` on first use. They are nobody's dependency:
 * not in the root package, not in its lockfile, and never fetched by `npm test`.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { nativeInstalled } from './native.ts'
import { pgliteSocketInstalled } from './pglite-socket.ts'

/** Whether everything is there that an install could bring. */
export function peersInstalled(): boolean {
  return nativeInstalled() && pgliteSocketInstalled()
}

/** One `npm install`; throws with npm's words if it fails. */
export function installPeers(): void {
  // pglite-socket names an older PGlite as its peer, hence --legacy-peer-deps.
  const args = ['install', '--no-package-lock', '--legacy-peer-deps', '--no-audit', '--no-fund']
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  execFileSync('npm', args, { cwd, stdio: 'pipe' })
}
